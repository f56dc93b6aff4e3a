"""The page's entry, here and on Hugging Face Spaces: `python app.py`."""

import os

# Before gradio is imported: it would ask its makers' server for news.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from kochat.ui.page import launch

if __name__ == "__main__":
    launch(inbrowser="SPACE_ID" not in os.environ and "KOCHAT_NO_BROWSER" not in os.environ)
