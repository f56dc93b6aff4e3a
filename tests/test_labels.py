"""Labels: their names in both languages, their order."""

from kochat.labels import AUTO_NAMES, CHATBOT_DATA_LABELS, NAMES, has_names, in_order, label_name


def test_the_labels_of_chatbot_data_have_names_in_both_languages():
    known = list(CHATBOT_DATA_LABELS)
    assert [label_name(label, "ko", known) for label in known] == ["일상다반사", "이별·부정", "사랑·긍정"]
    assert [label_name(label, "en", known) for label in known] == ["Everyday", "Breakup, negative", "Love, positive"]
    assert NAMES["ko"].keys() == NAMES["en"].keys() == set(CHATBOT_DATA_LABELS)
    assert AUTO_NAMES == {"ko": "자동", "en": "Automatic"}


def test_any_other_label_is_its_own_name():
    assert label_name("건설현장", "ko", ["건설현장", "우산장수"]) == "건설현장"
    # A shop's own 0 and 1 mean something else.
    assert label_name("0", "ko", ["0", "1"]) == "0"
    assert not has_names(["0", "1"])
    assert has_names(["0", "1", "2"])


def test_names_that_were_given_come_first_and_labels_of_ones_own_beside_chatbot_datas_leave_those_theirs():
    known = ["0", "1", "2", "우산장수"]
    names = {"1": "헤어짐", "우산장수": "비 오는 날"}
    assert [label_name(label, "ko", known, names) for label in known] == [
        "일상다반사",
        "헤어짐",
        "사랑·긍정",
        "비 오는 날",
    ]
    assert label_name("우산장수", "en", known) == "우산장수"
    assert not has_names(["0", "1", "2", "3"])


def test_numbers_come_first_by_value_then_texts_as_they_appear():
    assert in_order(["2", "0", "1", "0"]) == ["0", "1", "2"]
    assert in_order(["우산장수", "10", "건설현장", "9", "우산장수"]) == ["9", "10", "우산장수", "건설현장"]
    assert in_order(["1.5", "-1", "²", "3"]) == ["3", "1.5", "-1", "²"]
    assert in_order([]) == []
