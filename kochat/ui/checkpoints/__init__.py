"""The chatbots tab: card, figures, rename, delete, download, upload."""
