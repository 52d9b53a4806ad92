"""Every way to write people as CSV, in slices of any size, and arbitrary bytes."""

from itertools import pairwise, permutations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model import ALL_UNITS, Units
from model.csv_columns import Head
from tests.model.csv_reading import HEADER, faults, outcome, read

PEOPLE = (
    b'label,"height_cm",weight_kg\r\n'
    b"F,160.5,55\r\n"
    b"\r\n"
    b'"Male","181",8e1\n'
    b"\n"
    b'mAlE, 175 ,"77.25"\r\n'
    b"FEMALE,+150,.5e2"
)
TOKENS = ["weight_lb", "height_in", "label", *'1F,,,"\n\n\r', " ", "\0", "é", "_", "."]
CELLS = ["135", "66.5", "1e1", "+9", " 8 ", "0", "-1", "1e9", "nan", "1_0", "x", ""]
ENDS = ["F\n", "male\n", "FEMALE\r\n", " m \n", "X\n", "F,\n", "F\n\n", "F\r", '"F"\n']
COLUMNS = [
    columns
    for units in ALL_UNITS
    for columns in permutations((*units.columns, "label"))
]


def cut(content: bytes, points: list[int]) -> list[bytes]:
    """Cut the content at these points."""
    ends = [0, *sorted(min(point, len(content)) for point in points), len(content)]
    return [content[start:end] for start, end in pairwise(ends)]


@pytest.mark.parametrize("columns", COLUMNS, ids=",".join)
def test_columns_are_read_in_any_order(columns: tuple[str, str, str]) -> None:
    cells = {"weight": "120", "height": "70", "label": "F"}
    row = ",".join(cells[column.partition("_")[0]] for column in columns)

    table = read(f"{','.join(columns)}\n{row}\n".encode())

    assert (table.values.tolist(), table.y.tolist()) == ([[120.0, 70.0]], [[1.0]])


@pytest.mark.parametrize("units", ALL_UNITS, ids=lambda units: units.columns[0])
def test_the_header_names_the_units(units: Units) -> None:
    table = read(",".join(units.columns).encode() + b"\n1,1", labelled=False)

    assert table.units == units


def test_the_header_is_kept_as_it_came() -> None:
    table = read(b' height_in ,"weight_lb"\r\n66,135\r\n', labelled=False)

    assert table.header == ("height_in", "weight_lb")


def test_people_without_labels_have_no_targets() -> None:
    table = read(b"weight_lb,height_in\n135,66\n136,67\n", labelled=False)

    assert table.y.shape == (2, 0)


def test_a_table_becomes_offsets() -> None:
    table = read(b"weight_lb,height_in\n128,63\n", labelled=False)

    assert table.units.to_offsets(table.values).tolist() == [[-7.0, -3.0]]


def test_a_table_becomes_a_dataset() -> None:
    data = read(HEADER + b"128,63,F\n155,68,M\n").to_dataset()

    assert (data.X.tolist(), data.y.tolist()) == (
        [[-7.0, -3.0], [20.0, 2.0]],
        [[1.0], [0.0]],
    )


def test_quotes_newlines_of_any_kind_and_blank_lines_are_read() -> None:
    table = read(PEOPLE)

    assert (table.values.tolist(), table.y[:, 0].tolist()) == (
        [[55.0, 160.5], [80.0, 181.0], [77.25, 175.0], [50.0, 150.0]],
        [1.0, 0.0, 0.0, 1.0],
    )


@pytest.mark.parametrize(
    ("label", "target"),
    [
        *((label, 1.0) for label in ("F", "f", "Female", "FEMALE", " female ")),
        *((label, 0.0) for label in ("M", "m", "Male", "mALE", '"male"')),
    ],
)
def test_labels_are_read_in_any_case(label: str, target: float) -> None:
    table = read(HEADER + f"135,66,{label}\n".encode())

    assert table.y.tolist() == [[target]]


@pytest.mark.parametrize(
    "cell",
    ["-10000", "10000", "1e4", "-0", "  5 ", ".5", '"7"', "0" * 3_000],
    ids=lambda cell: cell[:8],
)
def test_numbers_within_the_limits_are_read(cell: str) -> None:
    content = f"weight_offset,height_offset\n{cell},1\n".encode()

    table = read(content, labelled=False)

    assert table.values[0, 0] == float(cell.strip('"'))


@given(points=st.lists(st.integers(0, len(PEOPLE)), max_size=12))
def test_slices_of_any_size_give_the_same_people(points: list[int]) -> None:
    slices = cut(PEOPLE, points)

    assert outcome(*slices) == outcome(PEOPLE)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(CELLS), st.sampled_from(CELLS), st.sampled_from(ENDS))
    )
)
def test_quoting_a_harmless_cell_changes_nothing(
    rows: list[tuple[str, str, str]],
) -> None:
    text = "".join(f"{weight},{height},{end}" for weight, height, end in rows)
    quoted = 'weight_lb,height_in,label\n"1","1","F"\n'  # keeps its slice from haste

    assert outcome(HEADER, b"1,1,F\n", text.encode()) == outcome(
        (quoted + text).encode()
    )


def test_a_csv_that_comes_byte_by_byte_gives_the_same_people() -> None:
    assert outcome(*(bytes([byte]) for byte in PEOPLE)) == outcome(PEOPLE)


def test_as_many_people_as_allowed_are_read() -> None:
    table = read(HEADER + b"135,66,F\n\n" * 3, max_rows=3)

    assert len(table.values) == 3


def test_a_line_of_the_greatest_length_is_read() -> None:
    line = b"135,66,F".rjust(4_096)

    assert read(HEADER, line, b"\n").values.tolist() == [[135.0, 66.0]]


@given(
    text=st.lists(st.sampled_from(TOKENS), max_size=25).map("".join),
    points=st.lists(st.integers(0, 150), max_size=4),
)
@example(text='"1\n2",66,F\n', points=[30])
def test_slices_never_change_what_comes_out(text: str, points: list[int]) -> None:
    content = HEADER + text.encode()

    assert outcome(*cut(content, points)) == outcome(content)


@given(content=st.binary(max_size=200))
@example(content=b"\r\n")
def test_any_bytes_give_people_or_faults(content: bytes) -> None:
    outcome(content)  # anything but a CsvError would come through


@given(content=st.lists(st.sampled_from(TOKENS), max_size=40).map("".join))
def test_anything_like_a_csv_gives_people_or_faults(content: str) -> None:
    outcome(content.encode())


@given(rows=st.lists(st.sampled_from(TOKENS), max_size=40).map("".join))
def test_anything_below_a_header_gives_people_or_faults(rows: str) -> None:
    outcome(HEADER + rows.encode())


@pytest.mark.parametrize("rest", [b"", b'"1",1,F\n'], ids=["quickly", "by the line"])
def test_a_carriage_return_counts_to_its_line(rest: bytes) -> None:
    line = b"135,66,F".rjust(4_096)

    assert faults(HEADER, line + b"\r\n" + rest) == [(2, None, "line_too_long")]


@pytest.mark.parametrize(
    ("header", "lines", "numbers"),
    [
        pytest.param(
            "weight_lb,height_in,label",
            b"135,66,F\r\n1.5e2, +70.25 ,male\n100,60,fEMALE\n.5,6.,m",
            [[135, 66, 1], [150, 70.25, 0], [100, 60, 1], [0.5, 6, 0]],
            id="labelled",
        ),
        pytest.param(
            "label,height_offset,weight_offset", b"F,-3,-7", [[-7, -3, 1]], id="order"
        ),
        pytest.param("height_cm,weight_kg", b"170,60", [[60, 170]], id="unlabelled"),
        pytest.param(
            "weight_lb,height_in",
            b"135,66" + b" " * 4_090,
            [[135, 66]],
            id="longest-line",
        ),
        pytest.param(
            "weight_lb,height_in",
            b"\n".join([b"135,66"] * 600),
            [[135, 66]] * 600,
            id="many-lines",
        ),
        pytest.param(
            "weight_offset,height_offset",
            b"10000,-1000\n-10000,1000",
            [[10_000, -1_000], [-10_000, 1_000]],
            id="limits",
        ),
    ],
)
def test_plain_lines_are_read_all_at_once(
    header: str, lines: bytes, numbers: list[list[float]]
) -> None:
    head = Head.parse(header, labelled="label" in header)

    plain = head.read_plain(lines)

    assert plain is not None
    assert plain.tolist() == numbers


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"135,66,F\n", id="blank-line"),
        pytest.param(b'"135",66,F', id="quote"),
        pytest.param(b"135\t,66,F", id="tab"),
        pytest.param(b"135,66", id="too-few-cells"),
        pytest.param(b"135,66,F,F", id="too-many-cells"),
        pytest.param(b"135,66,F\n135,66", id="a-shorter-row"),
        pytest.param(b"135,66,F\n135,66,F,F", id="a-longer-row"),
        pytest.param(b"135,x,F", id="no-number"),
        pytest.param(b"135,66,x", id="no-label"),
        pytest.param(b"135,0,F", id="too-short"),
        pytest.param(b"135,1066.1,F", id="too-tall"),
        pytest.param(b"135,nan,F", id="nan"),
        pytest.param(b"135,66,F" + b" " * 4_089, id="too-long-line"),
    ],
)
def test_other_lines_are_left_to_be_read_one_by_one(lines: bytes) -> None:
    head = Head.parse("weight_lb,height_in,label", labelled=True)

    assert head.read_plain(lines) is None


@pytest.mark.parametrize("size", [4_096, 1_000], ids=["at-once", "in-slices"])
@pytest.mark.parametrize("quote", ["", '"'], ids=["plain", "quoted"])
def test_the_longest_line_is_read(size: int, quote: str) -> None:
    line = f"{quote}135{quote},66,F".ljust(4_096).encode() + b"\n"
    chunks = [line[start : start + size] for start in range(0, len(line), size)]

    table = read(HEADER, *chunks)

    assert table.values.tolist() == [[135, 66]]


@pytest.mark.parametrize("quote", ["", '"'], ids=["plain", "quoted"])
@pytest.mark.parametrize("units", ALL_UNITS, ids=lambda units: units.columns[0])
def test_the_limits_themselves_are_read(units: Units, quote: str) -> None:
    rows = [*zip(*units.limits, strict=True)]
    lines = [",".join(f"{quote}{number!r}{quote}" for number in row) for row in rows]

    table = read("\n".join([",".join(units.columns), *lines]).encode(), labelled=False)

    assert table.values.tolist() == [list(row) for row in rows]
