"""Inference: decoding, and the Chatbot that others call."""
