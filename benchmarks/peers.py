"""Other engines, each as it would be used at its best for one greedy reply or a batch of them."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerFast

from .shapes import CACHE

# Token ids of the prompts, and how many tokens to decode: at most, or exactly where `endless`.
Engine = Callable[[list[list[int]], int], object]


def notebook_loop(folder: Path, endless: bool) -> Engine:
    """The notebook's loop: every token from a whole new computation, one reply after the other (its cell 47)."""
    model = GPT2LMHeadModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def decode(prompts, tokens):
        for prompt in prompts:
            ids = list(prompt)
            for _ in range(tokens):
                token = model(torch.tensor([ids])).logits.argmax(-1)[0, -1].item()
                if token == model.config.eos_token_id and not endless:
                    break
                ids.append(token)

    return decode


def _generates(model, pad_id: int, endless: bool) -> Engine:
    @torch.inference_mode()
    def decode(prompts, tokens):
        longest = max(map(len, prompts))
        ids = torch.tensor([[pad_id] * (longest - len(one)) + one for one in prompts])
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts])
        least = {"min_new_tokens": tokens} if endless else {}
        return model.generate(
            ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, pad_token_id=pad_id, **least
        )

    return decode


def transformers_generate(folder: Path, dtype: torch.dtype, endless: bool) -> Engine:
    """transformers' own `generate` with its cache."""
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=dtype).eval()
    return _generates(model, model.config.pad_token_id, endless)


def openvino(folder: Path, bits: int, endless: bool) -> Engine:
    """OpenVINO through optimum-intel, weights compressed to 8 or 4 bits."""
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

    converted = CACHE / f"{folder.name}-openvino-{bits}"
    if not converted.is_dir():
        quantization = OVWeightQuantizationConfig(bits=bits)
        OVModelForCausalLM.from_pretrained(folder, export=True, quantization_config=quantization).save_pretrained(
            converted
        )
    model = OVModelForCausalLM.from_pretrained(converted)
    return _generates(model, model.config.pad_token_id, endless)


def ctranslate2_int8(folder: Path, endless: bool) -> Engine:
    """CTranslate2 in 8 bits, two threads for one batch."""
    import ctranslate2

    converted = CACHE / f"{folder.name}-ctranslate2"
    if not converted.is_dir():
        ctranslate2.converters.TransformersConverter(str(folder)).convert(str(converted), quantization="int8")
    generator = ctranslate2.Generator(str(converted), compute_type="int8", intra_threads=torch.get_num_threads())
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)

    def decode(prompts, tokens):
        least = {"min_length": tokens} if endless else {}
        return generator.generate_batch(
            [tokenizer.convert_ids_to_tokens(one) for one in prompts],
            max_length=tokens,
            sampling_topk=1,
            include_prompt_in_result=False,
            end_token=tokenizer.eos_token,
            **least,
        )

    return decode
