"""The page. Handlers of a few lines that call the core; nothing in the core knows of them."""
