"""Wraps functions of Fabric. Each wrapper passes the call on as it was made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import get_ident
from types import ModuleType
from typing import Any, Final

from tracelet_otel._support.private_names import FABRIC, check_package
from tracelet_otel.instrumentation.lightning.attachment import Attachment
from tracelet_otel.instrumentation.lightning.fabric.launched import does_something


class FabricWrappers:
    """Wraps `__init__`, `log_dict`, which `log` calls, `setup` and its like, `save`, and what `launch` and `run` call.

    Args:
        attachment: what the instrumentor lends its parts.
    """

    modules: Final = tuple(FABRIC.packages)
    """Modules that have what is wrapped."""

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment

    def patch(self, module: ModuleType) -> None:
        """Wrap the functions of one of `modules`.

        Raises:
            IncompatibleVersionError: a private name is missing.
            TypeError: what is there is no plain function.
        """
        check_package(FABRIC, module.__name__)
        wrappers = {
            "__init__": self._wrap_init,
            "log_dict": self._wrap_log_dict,
            "setup": self._wrap_setup,
            "setup_module": self._wrap_setup_module,
            "setup_optimizers": self._wrap_setup_optimizers,
            "save": self._wrap_save,
            "_wrap_and_launch": self._wrap_launch,
        }
        for method, make_wrapper in wrappers.items():
            self._attachment.put(module.Fabric, method, make_wrapper)

    def _wrap_init(self, init: Callable[..., Any]) -> Callable[..., Any]:
        attachment = self._attachment

        @functools.wraps(init)
        def init_and_report(fabric: Any, *args: Any, **kwargs: Any) -> None:
            init(fabric, *args, **kwargs)
            hooks = attachment.current()
            if hooks is not None:
                hooks.fabric.made(fabric, attachment.prepare)

        return init_and_report

    def _wrap_log_dict(self, log_dict: Callable[..., Any]) -> Callable[..., Any]:
        current, prepare = self._attachment.current, self._attachment.prepare

        @functools.wraps(log_dict)
        def log_dict_and_record(fabric: Any, metrics: Any, step: Any = None) -> Any:
            hooks = current()
            if hooks is None or get_ident() in hooks.handing_out.threads:
                return log_dict(fabric, metrics, step)
            try:
                with hooks.handing_out:
                    return log_dict(fabric, metrics, step)
            finally:
                # Also where a user's logger raises: the row was logged all the same.
                hooks.fabric.take(fabric, metrics, step, prepare)

        return log_dict_and_record

    def _wrap_setup(self, setup: Callable[..., Any]) -> Callable[..., Any]:
        attachment = self._attachment

        @functools.wraps(setup)
        def setup_and_report(fabric: Any, module: Any, *optimizers: Any, **kwargs: Any) -> Any:
            hooks = attachment.beginning()
            if hooks is None:
                return setup(fabric, module, *optimizers, **kwargs)
            if optimizers:
                hooks.fabric.begin(fabric, attachment.prepare)
            result = setup(fabric, module, *optimizers, **kwargs)
            hooks.fabric.set_up(fabric, module, optimizers, attachment.prepare)
            return result

        return setup_and_report

    def _wrap_setup_module(self, setup: Callable[..., Any]) -> Callable[..., Any]:
        attachment = self._attachment

        @functools.wraps(setup)
        def setup_and_report(fabric: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
            result = setup(fabric, module, *args, **kwargs)
            hooks = attachment.beginning()
            if hooks is not None:
                hooks.fabric.set_up(fabric, module, (), attachment.prepare)
            return result

        return setup_and_report

    def _wrap_setup_optimizers(self, setup: Callable[..., Any]) -> Callable[..., Any]:
        attachment = self._attachment

        @functools.wraps(setup)
        def setup_and_report(fabric: Any, *optimizers: Any) -> Any:
            hooks = attachment.beginning()
            if hooks is None:
                return setup(fabric, *optimizers)
            hooks.fabric.begin(fabric, attachment.prepare)
            result = setup(fabric, *optimizers)
            hooks.fabric.set_up(fabric, None, optimizers, attachment.prepare)
            return result

        return setup_and_report

    def _wrap_save(self, save: Callable[..., Any]) -> Callable[..., Any]:
        attachment = self._attachment

        @functools.wraps(save)
        def save_and_record(fabric: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            result = save(fabric, path, *args, **kwargs)
            hooks = attachment.current()
            if hooks is not None:
                hooks.fabric.saved(fabric, path, attachment.prepare)
            return result

        return save_and_record

    def _wrap_launch(self, launch: Callable[..., Any]) -> Callable[..., Any]:
        attachment = self._attachment

        @functools.wraps(launch)
        def launch_and_report(fabric: Any, to_run: Any, *args: Any, **kwargs: Any) -> Any:
            hooks = attachment.beginning()
            if hooks is None:
                return launch(fabric, to_run, *args, **kwargs)
            launched = hooks.fabric.launch(fabric, to_run, attachment.source, attachment.prepare)
            try:
                result = launch(fabric, launched, *args, **kwargs)
            except BaseException as error:
                hooks.fabric.ended(error)
                raise
            finally:
                hooks.fabric.launch_ends()
            if does_something(to_run):
                hooks.fabric.ended(None)
            return result

        return launch_and_report
