"""Every fault of a CSV, with its row, column and code."""

import pytest

from model import CsvEncodingError, CsvError, CsvReader, RowError
from tests.model.csv_reading import HEADER, faults, read


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        pytest.param("tall", "float_parsing", id="word"),
        pytest.param("", "float_parsing", id="empty"),
        pytest.param("1_000", "float_parsing", id="underscore"),
        pytest.param("0x10", "float_parsing", id="hexadecimal"),
        pytest.param("\N{ARABIC-INDIC DIGIT SIX}", "float_parsing", id="arabic"),
        pytest.param("\N{NO-BREAK SPACE}6", "float_parsing", id="no-break-space"),
        pytest.param("1\x002", "float_parsing", id="nul"),
        pytest.param('6"6', "float_parsing", id="quote-inside"),
        pytest.param("nan", "out_of_range", id="nan"),
        pytest.param("-inf", "out_of_range", id="infinity"),
        pytest.param("1e999", "out_of_range", id="overflow"),
        pytest.param("0", "out_of_range", id="zero"),
        pytest.param("-1", "out_of_range", id="negative"),
        pytest.param("1066.001", "out_of_range", id="too-tall"),
    ],
)
def test_a_cell_that_is_no_height_is_a_fault(cell: str, code: str) -> None:
    content = HEADER + f"135,66,F\n135,{cell},F\n".encode()

    assert faults(content) == [(3, "height_in", code)]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        pytest.param("10000.001,0", "weight_offset", id="too-heavy"),
        pytest.param("-10000.001,0", "weight_offset", id="too-light"),
        pytest.param("0,1000.001", "height_offset", id="too-tall"),
        pytest.param("0,-1000.001", "height_offset", id="too-short"),
    ],
)
def test_an_offset_beyond_the_limits_is_a_fault(row: str, column: str) -> None:
    content = f"weight_offset,height_offset,label\n{row},M\n".encode()

    assert faults(content) == [(2, column, "out_of_range")]


@pytest.mark.parametrize("label", ["", "x", "0", "females"])
def test_an_unknown_label_is_a_fault(label: str) -> None:
    assert faults(HEADER + f"135,66,{label}\n".encode()) == [(2, "label", "label")]


@pytest.mark.parametrize(
    "row", [b"135,66", b"135,66,F,", b" "], ids=["shorter", "longer", "a-space"]
)
def test_a_row_of_another_length_is_a_fault(row: bytes) -> None:
    assert faults(HEADER + b"135,66,F\n" + row) == [(3, None, "columns")]


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"weight_lb,height_in", id="missing-label"),
        pytest.param(b"weight_lb,label", id="missing-height"),
        pytest.param(b"weight_lb,weight_lb,height_in,label", id="name-twice"),
        pytest.param(b"weight_lb,height_in,label,label", id="label-twice"),
        pytest.param(b"weight_lb,height_in,label,age", id="unknown-name"),
        pytest.param(b"weight_lb,height_cm,label", id="mixed-units"),
        pytest.param(b"Weight_lb,height_in,label", id="other-case"),
        pytest.param(b"weight_lb;height_in;label", id="semicolons"),
    ],
)
def test_another_header_is_a_fault(header: bytes) -> None:
    assert faults(header + b"\n135,66,F\n") == [(1, None, "header")]


def test_a_label_column_is_a_fault_where_people_have_none() -> None:
    with pytest.raises(CsvError, match="row 1: expected the columns weight_offset,"):
        read(HEADER, labelled=False)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"weight_lb,height_in,label\r135,66,F\r", id="old-mac-newlines"),
        pytest.param(b'weight_lb,height_in,"label\n135,66,F\n', id="open-quote"),
        pytest.param(b"a" * 140_000 + b"\n135,66,F\n", id="cell-of-140-kB"),
    ],
)
def test_a_header_that_is_not_csv_is_a_fault(header: bytes) -> None:
    rows = [row for row, _, _ in faults(header)]

    assert rows == [1]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(b'135,66,"F', id="open"),
        pytest.param(b'135,"6"6,F', id="text-after-a-quote"),
        pytest.param(b"135,6\r6,F", id="carriage-return-inside"),
        pytest.param(b'"13\n5",66,F', id="newline-inside"),
    ],
)
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["no-newline", "newline"])
def test_a_row_that_is_not_csv_is_a_fault(row: bytes, end: bytes) -> None:
    content = HEADER + b"135,66,F\n\n" + row + end

    assert [fault[2] for fault in faults(content)] == ["csv"]


def test_a_wrong_quote_is_found_in_its_row() -> None:
    content = HEADER + b'135,66,F\n\n135,"6"6,F\n135,66,F\n'

    assert faults(content) == [(4, None, "csv")]


def test_faults_before_a_wrong_quote_are_kept() -> None:
    content = HEADER + b'135,x,F\n135,"6"6,F\n'

    assert faults(content) == [(2, "height_in", "float_parsing"), (3, None, "csv")]


@pytest.mark.parametrize(
    "content",
    [HEADER, HEADER[:-1], HEADER + b"\n\r\n"],
    ids=["newline", "none", "blank-lines"],
)
def test_a_csv_without_people_is_a_fault(content: bytes) -> None:
    assert [fault[2] for fault in faults(content)] == ["too_short"]


@pytest.mark.parametrize("content", [HEADER, HEADER[:-1]], ids=["newline", "none"])
def test_people_are_missed_below_the_header(content: bytes) -> None:
    assert faults(content) == [(2, None, "too_short")]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b"135,66,F\n" * 5], id="at-once"),
        pytest.param([b"135,66,F\n"] * 5, id="row-by-row"),
    ],
)
def test_the_first_row_too_many_is_a_fault(chunks: list[bytes]) -> None:
    assert faults(HEADER, *chunks, max_rows=3) == [(5, None, "too_long")]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b"135,66,F\n", b" " * 4_097, b"1,66,F\n"], id="in-slices"),
        pytest.param([b"135,66,F\n" + b" " * 4_097 + b"1,66,F\n"], id="at-once"),
    ],
)
def test_a_line_too_long_is_a_fault(chunks: list[bytes]) -> None:
    assert faults(HEADER, *chunks) == [(3, None, "line_too_long")]


@pytest.mark.parametrize("cut_after", [0, 4_150], ids=["at-once", "in-slices"])
@pytest.mark.parametrize(
    ("content", "row"),
    [
        pytest.param(HEADER.rjust(4_200) + b"135,66,F\n", 1, id="header"),
        pytest.param(
            HEADER + b"135,66,F" + b"\xe3\x80\x80" * 1_400, 2, id="3-byte-spaces"
        ),
    ],
)
def test_the_length_of_any_line_counts_in_bytes(
    content: bytes, row: int, cut_after: int
) -> None:
    chunks = [content[:cut_after], content[cut_after:] + b"\n"]

    assert faults(*chunks) == [(row, None, "line_too_long")]


def test_a_line_too_long_is_refused_before_it_ends() -> None:
    reader = CsvReader(labelled=True, max_rows=1_000)
    reader.feed(HEADER)

    with pytest.raises(CsvError):
        reader.feed(b" " * 4_097)


def test_a_byte_order_mark_is_a_fault() -> None:
    assert faults(b"\xef\xbb\xbf" + HEADER) == [(1, None, "byte_order_mark")]


def test_a_byte_order_mark_further_down_is_no_number() -> None:
    content = HEADER + b"\xef\xbb\xbf135,66,F\n"

    assert faults(content) == [(2, "weight_lb", "float_parsing")]


@pytest.mark.parametrize(
    ("chunks", "row"),
    [
        pytest.param([b"weight_lb\xff\n"], 1, id="header"),
        pytest.param([HEADER + b"135,66,F\n135,66,\xff\n"], 3, id="row"),
        pytest.param([HEADER, b"135,66,F\n", b"1,1,F\n\xc0,66,F\n"], 4, id="slice"),
        pytest.param([HEADER + b"135,66,\xc3"], 2, id="cut-short"),
        pytest.param([HEADER + b"135,66,\xed\xa0\x80\n"], 2, id="surrogate"),
        pytest.param([HEADER.decode().encode("utf-16")], 1, id="utf-16"),
    ],
)
def test_bytes_that_are_not_utf8_are_a_fault(chunks: list[bytes], row: int) -> None:
    assert faults(*chunks) == [(row, None, "not_utf8")]


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf", b"\xff"], ids=["mark", "byte"])
def test_another_encoding_has_an_error_of_its_own(content: bytes) -> None:
    with pytest.raises(CsvEncodingError):
        read(content)


def test_every_fault_of_a_row_is_told() -> None:
    assert faults(HEADER + b"x,-1,?\n") == [
        (2, "weight_lb", "float_parsing"),
        (2, "height_in", "out_of_range"),
        (2, "label", "label"),
    ]


def test_faults_of_several_slices_add_up() -> None:
    chunks = [HEADER, b"135,66,x\n", b"135,66,F\n135,", b"y,F\n", b"135"]

    assert faults(*chunks) == [
        (2, "label", "label"),
        (4, "height_in", "float_parsing"),
        (5, None, "columns"),
    ]


@pytest.mark.parametrize("cut_after", [0, 7, 19, 20, 25])
def test_reading_stops_at_twenty_faults(cut_after: int) -> None:
    rows = [b"135,66,x\n"] * 30
    chunks = [HEADER, b"".join(rows[:cut_after]), b"".join(rows[cut_after:])]

    assert faults(*chunks) == [(row, "label", "label") for row in range(2, 22)]


def test_the_last_of_twenty_faults_ends_the_reading_at_once() -> None:
    reader = CsvReader(labelled=True, max_rows=1_000)
    reader.feed(HEADER)

    with pytest.raises(CsvError):
        reader.feed(b"135,66,x\n" * 20)


def test_an_error_says_its_first_fault() -> None:
    with pytest.raises(CsvError) as caught:
        read(HEADER + b"135,66,F\n135,x,F\n1\n")

    assert str(caught.value) == "row 3, height_in: expected a number"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        pytest.param(
            RowError(7, "label", "c", "what"), "row 7, label: what", id="cell"
        ),
        pytest.param(RowError(7, None, "c", "what"), "row 7: what", id="row"),
    ],
)
def test_a_fault_says_where_and_what(fault: RowError, text: str) -> None:
    assert str(fault) == text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        pytest.param("0,66,F", "above 0 to 10135", id="whole-weight"),
        pytest.param("1,2000,F", "above 0 to 1066", id="whole-height"),
    ],
)
def test_a_fault_of_range_names_the_range(row: str, text: str) -> None:
    with pytest.raises(CsvError, match=text):
        read(HEADER + row.encode())


def test_a_fault_of_range_names_a_negative_limit() -> None:
    with pytest.raises(CsvError, match="from -10000 to 10000"):
        read(b"weight_offset,height_offset,label\n20000,0,F\n")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(
            HEADER + b"135,66,x\n",
            "row 2, label: expected F, M, Female or Male",
            id="label",
        ),
        pytest.param(HEADER + b"135,66\n", "row 2: expected 3 cells", id="cells"),
        pytest.param(
            HEADER + b"1,1_0,F\n", "row 2, height_in: expected a number", id="number"
        ),
        pytest.param(HEADER + b"135,66,F\n" * 4, "row 5: more than 3 rows", id="rows"),
        pytest.param(HEADER, "row 2: no rows below the header", id="none"),
        pytest.param(
            HEADER + b" " * 4_097, "row 2: a line passes 4096 bytes", id="length"
        ),
        pytest.param(
            HEADER + b'"1,66,F\n',
            "row 2: a quote is not closed in its line, or stands inside a cell",
            id="quote",
        ),
        pytest.param(
            b"\xef\xbb\xbf", "row 1: starts with a byte order mark", id="mark"
        ),
        pytest.param(HEADER + b"\xff", "row 2: not UTF-8", id="encoding"),
        pytest.param(
            b"age\n",
            "row 1: expected the columns weight_offset,height_offset,label or "
            "weight_lb,height_in,label or weight_kg,height_cm,label",
            id="header",
        ),
    ],
)
def test_a_fault_says_what_was_expected_and_where(content: bytes, text: str) -> None:
    with pytest.raises(CsvError) as caught:
        read(content, max_rows=3)

    assert str(caught.value) == text
