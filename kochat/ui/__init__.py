"""The page. Handlers of a few lines that call the core; nothing in the core knows of them."""

import importlib.util
import sys


def _import_gradio() -> None:
    """Import gradio without letting it write type stubs beside its own sources.

    It does so for editors at every import, by parsing the source of each of its components: half of the
    seconds that an import takes. There is no switch for it, so the one function is replaced before the
    components are made; what they can do is the same.
    """
    spec = importlib.util.find_spec("gradio")
    package = importlib.util.module_from_spec(spec)
    sys.modules["gradio"] = package  # its modules look for one another in it, and the package itself comes last
    importlib.import_module("gradio.component_meta").create_or_modify_pyi = lambda *_: None
    spec.loader.exec_module(package)


if "gradio" not in sys.modules:
    _import_gradio()
