"""Lists of clips in every form that people bring: understood as a whole, or refused with a line and the valid forms."""

from collections.abc import Callable

import pytest

from darkaction.core.errors import UserError
from darkaction.data.importers.lists import FORMS, Listed, Mapping, looks_like_list, read_list

CLIPS = [("Walk", 7, 1, 1), ("Walk", 7, 2, 10), ("Run", 3, 1, 1), ("Run", 3, 4, 2)]
KEYS = ["walk/walk_1_1", "walk/walk_2_10", "run/run_1_1", "run/run_4_2"]
LABELS = ["7", "7", "3", "3"]


def lines(form: str) -> list[str]:
    """A line for each of CLIPS, in which {k} is its number, {c} its class, {n} the class's, {p} its path."""
    return [
        form.format(k=k, c=label, n=number, p=f"{label}/{label}_{scene}_{take}.mp4", s=f"{label}_{scene}_{take}")
        for k, (label, number, scene, take) in enumerate(CLIPS)
    ]


def rows_of(text: str) -> list[Listed]:
    found = read_list(text, origin="mine.csv")
    assert isinstance(found, list)
    return found


FORMS_WITH_LABELS = {
    "commas": (None, "{k},{p},{n}"),
    "a header of ARID 1.1": ("VideoID,Video,ClassID", "{k},{p},{n}"),
    "semicolons": ("VideoID;Video;ClassID", "{k};{p};{n}"),
    "tabs": (None, "{k}\t{n}\t{p}"),
    "tabs and a header": ("id\tlabel\tpath", "{k}\t{n}\t{p}"),
    "bars": (None, "{p}|{n}"),
    "path label": (None, "{p} {n}"),
    "label path": (None, "{n} {p}"),
    "three columns of spaces": (None, "  {k}   {n}   {p}  "),
    "columns in another order": ("path,class,id", "{p},{n},{k}"),
    "another order without a header": (None, "{n},{k},{p}"),
    "quotes": ('"id","path","label"', '"{k}","{p}","{n}"'),
    "spaces behind commas": ("id, path, label", "{k}, {p}, {n}"),
    "a separator at the end": (None, "{k},{p},{n},"),
    "a table of pandas with its index": (",path,label", "{k},{p},{n}"),
    "names alone": (None, "{s},{n}"),
    "folders above, from Windows": (None, "C:\\data\\clips\\{p},{n}"),
    "other folders": (None, "./clips/train/{s}.avi,{n}"),
    "leading zeros": (None, "{p},00{n}"),
    "the class by name and number": ("video,class,label", "{p},{c},{n}"),
}


@pytest.mark.parametrize("decorate", [
    lambda text: text,
    lambda text: "\n \n" + text,
    lambda text: text.replace("\n", "\n\n"),
    lambda text: text.replace("\n", "\r\n"),
    str.strip,
])  # fmt: skip
@pytest.mark.parametrize("form", FORMS_WITH_LABELS)
def test_each_form_of_a_list_says_the_same(form: str, decorate: Callable[[str], str]) -> None:
    header, line = FORMS_WITH_LABELS[form]
    text = "\n".join([*([] if header is None else [header]), *lines(line)]) + "\n"
    found = rows_of(decorate(text))
    assert [row.key for row in found] == KEYS
    assert [row.label for row in found] == LABELS
    assert all(row.name is not None for row in found)
    assert looks_like_list(decorate(text))


@pytest.mark.parametrize(
    "text",
    ["{p}", "{s}", "{k},{p}", "{k} {s}", "{p},{s}", "{p},{c}", "{c} {s}"],
)
def test_a_list_without_numbers_of_classes_is_one_too(text: str) -> None:
    found = rows_of("\n".join(lines(text)))
    assert [row.key for row in found] == KEYS
    assert {row.label for row in found} == {""}


def test_a_line_a_class_with_labels_is_not_taken_for_line_numbers() -> None:
    assert [row.label for row in rows_of("Walk_1_1.mp4 0\nRun_1_1.mp4 1\n")] == ["0", "1"]


@pytest.mark.parametrize("text", ["VideoID,Video\n0,0.mp4\n1,1.mp4\n", "0.mp4\n1.mp4\n", "0 0.mp4\n"])
def test_clips_of_no_known_class(text: str) -> None:
    found = rows_of(text)
    assert all(row.name is None for row in found)
    assert found[0].key == "0"


@pytest.mark.parametrize("text", ["7\tWalk\n3\tRun\n", "\nlabel,class\n07,Walk\n3,Run\n", "Walk 7\nRun 3\n"])
def test_a_mapping_table(text: str) -> None:
    assert read_list(text, origin="m.txt") == Mapping(origin="m.txt", classes={"7": "walk", "3": "run"})
    assert looks_like_list(text)


GOOD = "\n".join(lines("{k},{p},{n}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty list"),
        (" \n\n", "an empty list"),
        ("\nfoo bar\nbaz\n", "not a list of clips: its first line is 'foo bar'"),
        ("x" * 500, f"not a list of clips: its first line is '{'x' * 120}'"),
        (GOOD + "\n4,Walk/Walk_9_9.mp4\n5,6\n", "line 5 is '4,Walk/Walk_9_9.mp4', unlike the rest of the list (2 of 6"),
        (GOOD + "\n4;Walk/Walk_9_9.mp4;7\n", "line 5 is '4;Walk/Walk_9_9.mp4;7', unlike"),
        (GOOD + "\n4,Walk/holiday.mp4,7\n", "line 5 is '4,Walk/holiday.mp4,7', unlike"),
        (GOOD + "\n4,Run/Walk_9_9.mp4,7\n", "line 5 is '4,Run/Walk_9_9.mp4,7', unlike"),
        ("0,Walk,7\n" + GOOD, "its first line is '0,Walk,7': column 1 is not understood"),
        ("Wlk-1-1\nWalk_1_1\nWalk_1_2\n", "its first line is 'Wlk-1-1': column 1 is not understood"),
        ("path,split\nWalk_1_1,train\nWalk_1_2,test\n", "its first line is 'path,split': column 2 is not understood"),
        ("path,label,target\nWalk_1_1,3,4\nWalk_1_2,3,4\n", "its first line is 'path,label,target': column 3 is not"),
        ("Walk_1_1,3,4,5\nWalk_1_2,3,4,5\n", "its first line is 'Walk_1_1,3,4,5': column 2 is not understood"),
        ("Walk_1_1,0.5\nWalk_1_2,0.5\n", "its first line is 'Walk_1_1,0.5': column 2 is not understood"),
        ("path label\n0.mp4 7\n1.mp4 7\n", "line 2: 0.mp4 has a label, but is not named <Class>_<scene>_<take>"),
    ],
)
def test_what_is_not_understood_is_refused_with_a_line_and_the_forms(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_list(text, origin="mine.csv")
    assert str(caught.value).startswith(f"mine.csv: {message}")
    assert FORMS in str(caught.value)


def test_a_mapping_table_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(UserError, match=r"m\.txt: label 3 stands for run and for walk"):
        read_list("3 Run\n3 Walk\n", origin="m.txt")


@pytest.mark.parametrize("text", ["", "of something else", "no clip\n", "The clip Walk/Walk_1_1.mp4 shows a walk.\n"])
def test_prose_beside_clips_is_no_list(text: str) -> None:
    assert not looks_like_list(text)
