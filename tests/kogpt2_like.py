"""A tiny repository with the file layout of `skt/kogpt2-base-v2`, for tests that load a base model.

The real repository holds no `tokenizer_config.json`, `model.safetensors` or `generation_config.json`: only
`config.json`, `tokenizer.json` and `pytorch_model.bin` (and a README). Special ids are the real ones.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel

EMOTICONS = ["😀", "😁", "😆", "😅", "🤣", "😤", ":-)", ":)", "-)", "(-:", "l^o"]
# In the order of their ids: `<s>` is 0, `<pad>` 3, `<unused0>` 9, `<unused1>` 10, `<unused99>` 108.
SPECIALS = ["<s>", "</s>", "<usr>", "<pad>", "<sys>", "<unk>", "<mask>", "<d>", "</d>"]
SPECIALS += [f"<unused{i}>" for i in range(100)]

SENTENCES = """\
안녕하세요. 한국어 GPT-2 입니다.
하루가 또 가네요.
위로해 드립니다.
여행은 언제나 좋죠.
눈살이 찌푸려지죠.
다시 새로 사는 게 마음 편해요.
잘 모르고 있을 수도 있어요.
시간을 정하고 해보세요.
오늘 날씨는 어때?
오늘은 비가 오네요, 우산을 챙기세요!
배가 고파서 밥을 먹고 싶어.
맛있는 거 드세요.
좋아하는 사람이 생겼어.
사랑은 언제나 용기가 필요해요.
먼저 고백해 보는 건 어떨까요?
헤어진 지 세 달이 지났어.
이별은 누구에게나 아픈 법이에요.
마음이 아프네요. 힘내세요.
그 사람도 당신을 생각하고 있을 거예요.
친구들이 보고 싶었나 봐요.
지금 저녁이야 바보야
늦지 않았어요.
고마워
저도 감사합니다.
좋은 아침이에요.
좋은 결과 있을 거예요.
3박4일 놀러가고 싶다
12시 땡!
1지망 학교 떨어졌어
데이트는 성공적일 거예요.
짝사랑은 힘들어요.
연애를 시작하면 행복할 거예요.
""".splitlines()

CONFIG = {
    "_num_labels": 1,
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "author": "Heewon Jeon(madjakarta@gmail.com)",
    "bos_token_id": 0,
    "created_date": "2021-04-28",
    "embd_pdrop": 0.1,
    "eos_token_id": 1,
    "gradient_checkpointing": False,
    "id2label": {"0": "LABEL_0"},
    "initializer_range": 0.02,
    "label2id": {"LABEL_0": 0},
    "layer_norm_epsilon": 1e-05,
    "license": "CC-BY-NC-SA 4.0",
    "model_type": "gpt2",
    "n_ctx": 64,
    "n_embd": 8,
    "n_head": 2,
    "n_inner": None,
    "n_layer": 2,
    "n_positions": 64,
    "pad_token_id": 3,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "torch_dtype": "float32",
    "transformers_version": "4.5.1",
    "use_cache": True,
    "vocab_size": 51200,
}


def train_tokenizer(flagged: bool = True, vocab_size: int = 512) -> Tokenizer:
    """Train a character BPE tokenizer with `▁` for spaces; `flagged` is the `special` flag of its added tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIALS + EMOTICONS,
        initial_alphabet=[chr(code) for code in range(33, 127)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if flagged:
        return tokenizer
    written = json.loads(tokenizer.to_str())
    for token in written["added_tokens"]:
        token["special"] = False
    return Tokenizer.from_str(json.dumps(written))


def write_kogpt2_like(folder: str | Path, flagged: bool = True) -> Path:
    """Write the repository's files into `folder`, the same bytes each time, and return the folder.

    Whether the real `tokenizer.json` flags its added tokens as special is not known here: try both.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(flagged)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = CONFIG | {"vocab_size": tokenizer.get_vocab_size()}
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text("---\nlanguage: ko\nlicense: cc-by-nc-sa-4.0\n---\n", encoding="utf-8")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = GPT2LMHeadModel(GPT2Config(**config)).state_dict()
    positions = config["n_positions"]
    for layer in range(config["n_layer"]):  # buffers that checkpoints of that time hold
        attention = f"transformer.h.{layer}.attn"
        causal = torch.ones(positions, positions, dtype=torch.uint8).tril()
        weights[f"{attention}.bias"] = causal.view(1, 1, positions, positions)
        weights[f"{attention}.masked_bias"] = torch.tensor(-1e4)
    torch.save(dict(weights), folder / "pytorch_model.bin")
    return folder
