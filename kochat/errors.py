"""Exceptions with a sentence for people, in English and in Korean.

Every module raises these; the page and the command line show `error.text(language)`, the log keeps
the traceback. This file knows the sentences and nothing else: no module, no file, no library.
"""

from __future__ import annotations

SENTENCES: dict[str, tuple[str, str]] = {
    # key: (English, Korean)
    "no_file": (
        "There is no file {path}. Check the name and try again.",
        "{path} 파일이 없어요. 이름을 확인하고 다시 시도해 주세요.",
    ),
    "no_upload": (
        "No file was chosen. Upload a CSV file first.",
        "파일을 고르지 않았어요. 먼저 CSV 파일을 올려 주세요.",
    ),
    "file_too_large": (
        "{name} is larger than {most} MB. Upload a smaller file.",
        "{name} 파일이 {most} MB보다 커요. 더 작은 파일을 올려 주세요.",
    ),
    "not_csv": (
        "{name} could not be read as a CSV file. Save it as CSV (with commas) and try again.",
        "{name} 파일을 CSV로 읽을 수 없어요. 쉼표로 나눈 CSV로 저장해서 다시 올려 주세요.",
    ),
    "no_column": (
        "{name} has no column {missing}. It needs the columns Q, A and label; it has {found}.",
        "{name} 파일에 {missing} 열이 없어요. Q, A, label 열이 필요한데, 지금은 {found} 열이 있어요.",
    ),
    "no_rows": (
        "{name} has no rows below its header. Add at least one question and answer.",
        "{name} 파일에 제목 행만 있고 내용이 없어요. 질문과 답을 한 행 이상 넣어 주세요.",
    ),
    "reserved_label": (
        "The label “{label}” means that the bot chooses by itself. Give it another name in the data.",
        "“{label}” 라벨은 챗봇이 스스로 고른다는 뜻으로 쓰고 있어요. 데이터에서 다른 이름으로 바꿔 주세요.",
    ),
    "empty_cells": (
        "{name} has empty cells in {count} of its rows: {rows}. Fill them in or delete those rows.",
        "{name} 파일의 {count}개 행에 빈칸이 있어요: {rows}. 채우거나 그 행을 지워 주세요.",
    ),
    "no_download": (
        "{url} could not be downloaded ({reason}). Check the network, or choose a file of your own.",
        "{url} 주소에서 받지 못했어요 ({reason}). 인터넷 연결을 확인하거나 가지고 있는 파일을 골라 주세요.",
    ),
    "damaged_download": (
        "The download from {url} arrived damaged, so it was thrown away. Try again.",
        "{url} 주소에서 받은 파일이 손상되어 지웠어요. 다시 시도해 주세요.",
    ),
    "nothing_to_evaluate": (
        "There is no pair to evaluate on.",
        "평가할 쌍이 없어요.",
    ),
    "other_data": (
        "{name} does not hold the pairs that this checkpoint was trained with.",
        "{name} 파일은 이 체크포인트를 학습할 때 쓴 데이터가 아니에요.",
    ),
    "nothing_to_train": (
        "No pair is left to train on: {rows} rows, of which {held_out} are kept for validation. "
        "Add rows, or keep fewer for validation.",
        "학습할 쌍이 남지 않았어요. 전체 {rows}행 중 {held_out}행을 검증용으로 남겼어요. "
        "행을 늘리거나 검증 비율을 줄여 주세요.",
    ),
    "bad_setting": (
        "{field} is {value}, but must be {allowed}.",
        "{field_ko} 값이 {value}인데, {allowed_ko} 값이어야 해요.",
    ),
    "no_trackio": (
        "Reporting to trackio needs its library. Install it with “pip install trackio”.",
        "trackio에 기록하려면 라이브러리가 필요해요. “pip install trackio”로 설치해 주세요.",
    ),
    "label_too_long": (
        "The label “{label}” is too long for a length of {max_length} tokens. Use a shorter label.",
        "“{label}” 라벨이 너무 길어요 (전체 길이 {max_length} 토큰). 더 짧은 라벨을 써 주세요.",
    ),
    "length_over_model": (
        "A length of {max_length} tokens is more than this model can take ({positions}).",
        "길이 {max_length} 토큰은 이 모델이 다룰 수 있는 {positions} 토큰보다 길어요.",
    ),
    "unknown_label": (
        "This checkpoint does not know the label “{label}”. It knows: {known}.",
        "이 체크포인트는 “{label}” 라벨을 몰라요. 아는 라벨: {known}",
    ),
    "not_for_chat": (
        "{name} was not trained to answer yet. Fine-tune it on pairs first.",
        "{name} 모델은 아직 대답을 배우지 않았어요. 먼저 질문과 답으로 학습해 주세요.",
    ),
    "empty_question": (
        "The question is empty. Write something first.",
        "질문이 비어 있어요. 먼저 한마디 적어 주세요.",
    ),
    "unsafe_name": (
        "“{name}” cannot be a name. Use letters, digits, - and _, no spaces, at most {longest} characters.",
        "“{name}” 이름은 쓸 수 없어요. 띄어쓰기 없이 글자, 숫자, -, _만 써서 {longest}자 이내로 지어 주세요.",
    ),
    "name_taken": (
        "There is already something named “{name}”. Choose another name.",
        "“{name}” 이름은 이미 쓰고 있어요. 다른 이름을 골라 주세요.",
    ),
    "not_writable": (
        "Nothing can be written to {path}. Choose another folder, or allow writing there.",
        "{path} 폴더에 쓸 수 없어요. 다른 폴더를 고르거나 쓰기 권한을 확인해 주세요.",
    ),
    "no_checkpoint": (
        "There is no checkpoint at {path}. Check the name, or choose one from the list.",
        "{path} 체크포인트가 없어요. 이름을 확인하거나 목록에서 골라 주세요.",
    ),
    "incomplete_checkpoint": (
        "The checkpoint {name} is incomplete: {missing} is missing. Copy it again, or choose another.",
        "{name} 체크포인트가 온전하지 않아요. {missing} 파일이 없어요. 다시 복사하거나 다른 것을 골라 주세요.",
    ),
    "damaged_checkpoint": (
        "The checkpoint {name} is damaged and could not be read. Copy it again, or choose another.",
        "{name} 체크포인트가 손상되어 읽을 수 없어요. 다시 복사하거나 다른 것을 골라 주세요.",
    ),
    "shipped_checkpoint": (
        "{name} comes with kochat and stays as it is.",
        "{name}은(는) kochat에 들어 있는 기본 챗봇이라 바꾸거나 지울 수 없어요.",
    ),
    "checkpoint_in_use": (
        "{name} is in use by the run “{run}”. Wait until it ends, or stop it first.",
        "{name}은(는) “{run}” 학습에서 쓰고 있어요. 끝날 때까지 기다리거나 먼저 멈춰 주세요.",
    ),
    "bad_zip": (
        "{name} could not be read as the zip of a checkpoint. Upload one that was downloaded from kochat.",
        "{name} 파일은 챗봇 zip 파일로 읽을 수 없어요. kochat에서 내려받은 zip 파일을 올려 주세요.",
    ),
    "unsafe_zip": (
        "{name} was refused: {file} does not belong into a checkpoint.",
        "{name} 파일을 받지 않았어요. 챗봇에 있으면 안 되는 {file} 파일이 들어 있어요.",
    ),
    "not_for_upload": (
        "The checkpoint in {name} was not trained to answer.",
        "{name} 파일에 든 모델은 아직 대답을 배우지 않았어요.",
    ),
    "not_a_gpt2": (
        "{name} is a {found} model, and kochat works with GPT-2. Choose a GPT-2 as base.",
        "{name}은(는) {found} 모델이에요. kochat은 GPT-2 모델만 쓸 수 있어요. GPT-2 모델을 골라 주세요.",
    ),
    "hub_unreachable": (
        "{name} could not be fetched: the Hugging Face Hub is out of reach. "
        "Check the network, or choose kochat-mini, which needs none.",
        "{name} 모델을 받지 못했어요. Hugging Face Hub에 연결할 수 없어요. "
        "인터넷 연결을 확인하거나, 인터넷이 필요 없는 kochat-mini를 골라 주세요.",
    ),
    "hub_no_model": (
        "There is no model {name} on the Hugging Face Hub, or it is private. Check its name.",
        "Hugging Face Hub에 {name} 모델이 없거나 비공개예요. 이름을 확인해 주세요.",
    ),
    "name_reserved": (
        "“{name}” is kept for the run “{run}”, which is not done. Choose another name, or finish or delete that run.",
        "“{name}” 이름은 끝나지 않은 “{run}” 학습이 쓰고 있어요. 다른 이름을 고르거나 그 학습을 먼저 정리해 주세요.",
    ),
    "not_resumable": (
        "“{name}” cannot be resumed: it waits, is being trained, or is finished.",
        "“{name}” 학습은 기다리는 중이거나 진행 중이거나 이미 끝나서 이어서 할 수 없어요.",
    ),
    "nothing_saved": (
        "“{name}” has saved nothing yet, so no chatbot can be made of it. Resume it instead.",
        "“{name}” 학습은 아직 저장한 내용이 없어서 챗봇을 만들 수 없어요. 이어서 학습해 주세요.",
    ),
    "run_in_use": (
        "“{name}” waits or is being trained. Stop it first.",
        "“{name}” 학습이 기다리는 중이거나 진행 중이에요. 먼저 멈춰 주세요.",
    ),
    "no_active_run": (
        "Nothing is being trained right now.",
        "지금 진행 중인 학습이 없어요.",
    ),
    "data_changed": (
        "The data or the base of this run have changed since it was stopped, so it cannot go on. Start a new one.",
        "멈춘 뒤에 학습 데이터나 기반 모델이 바뀌어서 이어서 학습할 수 없어요. 새로 시작해 주세요.",
    ),
    "diverged": (
        "Training went astray: the loss is not a number any more. Try a lower learning rate than {learning_rate}.",
        "학습이 발산했어요. 손실을 더 계산할 수 없어요. 학습률을 {learning_rate}보다 낮춰 보세요.",
    ),
    "no_run": (
        "There is no run named “{name}”.",
        "“{name}” 학습 기록이 없어요.",
    ),
    "run_failed": (
        "Training ended with an unexpected error. What it printed is in {log}.",
        "학습이 예상하지 못한 오류로 끝났어요. 자세한 내용은 {log} 파일에 있어요.",
    ),
    "run_killed": (
        "Training was ended from outside, perhaps for want of memory. Resume it: it goes on from what it last saved.",
        "학습이 예기치 않게 중단됐어요. 메모리가 부족했을 수 있어요. 마지막으로 저장한 곳부터 이어서 학습할 수 있어요.",
    ),
    "disk_full": (
        "The disk is full. Free some space and go on: what was saved before is still there.",
        "디스크가 가득 찼어요. 공간을 비우고 이어서 하면 돼요. 그 전에 저장한 내용은 그대로 남아 있어요.",
    ),
}


class KochatError(Exception):
    """A foreseen failure. `key` names its sentence in SENTENCES, `values` fill it in."""

    def __init__(self, key: str, **values: object):
        self.key, self.values = key, values
        super().__init__(self.text("en"))

    def text(self, language: str) -> str:
        """The sentence for people; `language` is "ko" or "en"."""
        english, korean = SENTENCES[self.key]
        return (korean if language == "ko" else english).format(**self.values)


class DataError(KochatError):
    """The pairs cannot be read or used."""


class SettingsError(KochatError):
    """A setting is out of its range."""


class CheckpointError(KochatError):
    """A checkpoint cannot be found, read, named or written."""


class HubError(KochatError):
    """The Hugging Face Hub did not give what was asked."""


class RunError(KochatError):
    """A run cannot be started, found or finished."""


class ReplyError(KochatError):
    """A reply cannot be given to this question or label."""
