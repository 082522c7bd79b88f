"""The template language of Go's text/template, as ``--format`` takes it.

>>> Template("{{.Name | upper}}").render({"Name": "wherry"})
'WHERRY'
"""

from wherry.cli.gotemplate.evaluator import TemplateError, go_string
from wherry.cli.gotemplate.template import Template

__all__ = ["Template", "TemplateError", "go_string"]
