"""`cells.py NOTEBOOK` runs the cells of a notebook in one namespace, and prints what each would show below it."""

import ast
import json
import sys
from pathlib import Path

notebook = json.loads(Path(sys.argv[1]).read_text())
assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
names: dict[str, object] = {"__name__": "__main__"}
for cell in notebook["cells"]:
    if cell["cell_type"] == "code":
        body = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Interactive(body), cell["id"], "single"), names)
