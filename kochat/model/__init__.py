"""The model: prompt, tokenizer, batches, GPT-2, checkpoints with their cards, the Hub."""
