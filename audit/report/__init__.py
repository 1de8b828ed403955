"""The evidence as people and machines read it: pure functions of `audit.evidence.Evidence`.

Nothing here imports torch or onnxruntime. `junit` and `markdown` cost no rendering library; `html` brings
matplotlib and jinja2, `pdf` brings WeasyPrint.
"""
