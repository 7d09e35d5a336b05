"""Forward operators A of y = A(x) + noise (eq. 9): operators of deepinv, and subclasses of its `Physics`."""

from .building import OPERATORS, build_operator
from .config import OperatorConfig
from .measurement import measure, operator_state

__all__ = ["OPERATORS", "OperatorConfig", "build_operator", "measure", "operator_state"]
