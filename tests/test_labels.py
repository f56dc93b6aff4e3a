"""Labels: their names, and their order."""

from kochat.labels import AUTO, CHATBOT_DATA_LABELS, NAMES, in_order, label_name


def test_the_labels_of_chatbot_data_have_names_in_both_languages():
    assert [label_name(label, "ko") for label in CHATBOT_DATA_LABELS] == ["일상다반사", "이별·부정", "사랑·긍정"]
    english = [label_name(label, "en") for label in CHATBOT_DATA_LABELS]
    assert english == ["Everyday", "Breakup, negative", "Love, positive"]
    assert (label_name(AUTO, "ko"), label_name(AUTO, "en")) == ("자동", "Automatic")
    assert NAMES["ko"].keys() == NAMES["en"].keys() == {AUTO, *CHATBOT_DATA_LABELS}


def test_any_other_label_is_its_own_name():
    assert label_name("건설현장", "ko") == label_name("건설현장", "en") == "건설현장"


def test_numbers_come_first_by_value_then_texts_as_they_appear():
    assert in_order(["2", "0", "1", "0"]) == ["0", "1", "2"]
    assert in_order(["우산장수", "10", "건설현장", "9", "우산장수"]) == ["9", "10", "우산장수", "건설현장"]
    assert in_order(["1.5", "-1", "²", "3"]) == ["3", "1.5", "-1", "²"]
    assert in_order([]) == []
