"""Tests of the service."""

import pytest

pytest.register_assert_rewrite("tests.app.answers")
