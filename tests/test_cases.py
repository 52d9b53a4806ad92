"""Every case of faults and abuse has its test, or says what else shows it."""

from typing import Final

import pytest

from tests.faults.cases import CASES, ELSEWHERE, ROOT, named, table

COUNTS: Final = {"A": 16, "B": 18, "C": 17, "D": 20, "E": 8, "F": 17}


def test_the_cases_are_counted_through() -> None:
    wanted = [f"{g}{n + 1}" for g, count in COUNTS.items() for n in range(count)]

    assert list(CASES) == wanted


@pytest.mark.parametrize("case", CASES)
def test_a_case_has_a_test_or_says_what_shows_it(case: str) -> None:
    assert case in named() or case in ELSEWHERE


def test_every_id_in_a_name_is_that_of_a_case() -> None:
    assert named().keys() <= CASES.keys()


def test_what_shows_a_case_elsewhere_is_there() -> None:
    assert ELSEWHERE.keys() <= CASES.keys()
    assert all((ROOT / shown.file).is_file() for shown in ELSEWHERE.values())


def test_the_table_has_a_line_for_each_case() -> None:
    lines = table().splitlines()[2:]

    assert [line.split()[1] for line in lines] == list(CASES)
