"""The examples at the end of each command's help; they work as pasted, in this order.

Lines are short enough for a terminal of 80 columns.
"""

from typing import Final

BEGIN: Final = """\
Where to begin:
  offsetnet serve
then, in another terminal:
  offsetnet models list
or without any server:
  offsetnet predict --weight-lb 128 --height-in 63
  offsetnet train --article

`offsetnet COMMAND --help` explains a command and shows examples.
"""

SERVE: Final = """\
Examples:
  offsetnet serve
  offsetnet serve --port 9000 --workers 2 --access-log
  offsetnet serve --root-path /offsetnet
  OFFSETNET_ADMIN_KEY=choose-one offsetnet serve --host 0.0.0.0
"""

RUNNER: Final = """\
Examples:
  offsetnet runner --data-dir ./training
"""

SAMPLE: Final = """\
Examples:
  offsetnet sample 10000 > people.csv
  offsetnet sample 1000 --seed 7 | cut -d, -f1,2 > strangers.csv
"""

TRAIN: Final = """\
Examples:
  offsetnet train --article
  offsetnet sample 10000 > people.csv
  offsetnet train people.csv --plot --output weights.safetensors
  offsetnet train people.csv --epochs 50 --hidden-units 3 --json
  offsetnet train people.csv --server http://127.0.0.1:8000 --note spring
"""

PREDICT: Final = """\
Examples:
  offsetnet predict --weight-lb 128 --height-in 63
  offsetnet predict --weight-offset=-7 --height-offset=-3 --json
  offsetnet sample 1000 | cut -d, -f1,2 > strangers.csv
  offsetnet predict strangers.csv > answers.csv
  offsetnet predict strangers.csv --server http://127.0.0.1:8000
"""

MODELS: Final = """\
Examples:
  offsetnet models list
  offsetnet models show 1
"""

LIST: Final = """\
Examples:
  offsetnet models list
  offsetnet models list --server http://127.0.0.1:8000 --json
"""

SHOW: Final = """\
Examples:
  offsetnet models show 1
  offsetnet models show 1 --json
"""

ACTIVATE: Final = """\
Examples:
  offsetnet models activate 1
"""

ROLLBACK: Final = """\
Examples:
  offsetnet models rollback
"""

VERIFY: Final = """\
Examples:
  offsetnet train --article --output weights.safetensors
  offsetnet models verify weights.safetensors
"""
