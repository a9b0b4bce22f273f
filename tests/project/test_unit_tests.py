"""`tests/unit` mirrors the modules of the product."""

from devstack.service_process import ROOT

UNIT = ROOT / "tests" / "unit"


def test_mirror() -> None:
    """Each file `tests/unit/X/test_Y.py` is about the module `X/Y.py`."""
    tests = list(UNIT.rglob("test_*.py"))
    assert len(tests) > 20
    modules = {
        test: ROOT / test.relative_to(UNIT).with_name(test.name.removeprefix("test_"))
        for test in tests
    }
    assert not [str(test) for test, module in modules.items() if not module.exists()]
