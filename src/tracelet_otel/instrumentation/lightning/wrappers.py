"""The functions that stand in the place of Lightning's own, and of those of loggers. Each passes its call on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final

from tracelet_otel._support.private_names import CONNECTOR
from tracelet_otel.instrumentation.lightning.hooks import Hooks
from tracelet_otel.instrumentation.lightning.routes import Routes
from tracelet_otel.instrumentation.patching import is_defined_in

Wrapper = Callable[..., Any]
METHODS: Final = ("fit", "validate", "test", "predict")
"""Methods of a trainer in which something is trained or logged."""


class Wrappers:
    """Makes the wrappers.

    Args:
        routes: finds where a call is reported.
        patch_loggers: wraps the functions of a trainer's loggers; called when the trainer starts.
        entered: called with the hooks and a trainer when it has started; never raises.
    """

    def __init__(
        self, routes: Routes, patch_loggers: Callable[[Any], None], entered: Callable[[Hooks, Any], None]
    ) -> None:
        self._routes = routes
        self._patch_loggers = patch_loggers
        self._entered = entered

    def connector(self, log_metrics: Wrapper) -> Wrapper:
        """For `_LoggerConnector.log_metrics`, which has every row that Lightning makes."""
        # Lightning's own function hands the row to the loggers, and without any it does nothing: then no call is nested
        # in it. A function that others have put in its place may call a wrapper of ours.
        is_lightnings = is_defined_in(log_metrics, CONNECTOR)
        here, handing_out = self._routes.here, self._routes.handing_out

        @functools.wraps(log_metrics)
        def log_metrics_and_record(connector: Any, metrics: Any, step: int | None = None) -> Any:
            hooks = here()
            # A nested call comes where somebody has wrapped us and we have wrapped them: it has the same row.
            if hooks is None or ((threads := handing_out.threads) and get_ident() in threads):
                return log_metrics(connector, metrics, step)
            trainer = connector.trainer
            try:
                if is_lightnings and not trainer.loggers:
                    return log_metrics(connector, metrics, step)
                with handing_out, hooks.logging():
                    return log_metrics(connector, metrics, step)
            finally:
                # Also where a user's logger raises: the row was logged all the same.
                hooks.rows.take(trainer, metrics, step)

        return log_metrics_and_record

    def logger(self, log_metrics: Wrapper) -> Wrapper:
        """For `log_metrics` of a logger, which callbacks and users call."""
        routes = self._routes

        @functools.wraps(log_metrics)
        def log_metrics_and_record(logger: Any, *args: Any, **kwargs: Any) -> Any:
            handing_out = routes.handing_out
            if get_ident() in handing_out.threads:
                hooks = routes.here()
                if hooks is None:
                    return log_metrics(logger, *args, **kwargs)
                with hooks.logging(logger):
                    return log_metrics(logger, *args, **kwargs)
            hooks = routes.of_logger(logger)
            if hooks is None:
                return log_metrics(logger, *args, **kwargs)
            try:
                with handing_out, hooks.logging(logger):
                    return log_metrics(logger, *args, **kwargs)
            finally:
                hooks.take_logged_row(log_metrics, logger, args, kwargs)

        return log_metrics_and_record

    def fetcher(self, begin: Wrapper) -> Wrapper:
        """For `_DataFetcher.__iter__`, in which workers are started, and the first batches are waited for."""

        @functools.wraps(begin)
        def begin_and_note(fetcher: Any) -> Any:
            hooks = self._routes.here()
            if hooks is None:
                return begin(fetcher)
            with hooks.fetching():
                return begin(fetcher)

        return begin_and_note

    def hyperparams(self, log_hyperparams: Wrapper) -> Wrapper:
        """For `log_hyperparams` of a logger."""
        routes = self._routes

        @functools.wraps(log_hyperparams)
        def log_hyperparams_and_record(logger: Any, *args: Any, **kwargs: Any) -> Any:
            handing_out = routes.handing_out
            hooks = None if get_ident() in handing_out.threads else routes.of_logger(logger)
            if hooks is None:
                return log_hyperparams(logger, *args, **kwargs)
            try:
                # Some loggers log a metric of their own in here, which is not to be recorded.
                with handing_out:
                    return log_hyperparams(logger, *args, **kwargs)
            finally:
                hooks.take_hyperparams(log_hyperparams, logger, args, kwargs)

        return log_hyperparams_and_record

    def lifecycle(self, call: Wrapper) -> Wrapper:
        """For a trainer's `fit`, `validate`, `test` or `predict`."""
        routes = self._routes

        @functools.wraps(call)
        def call_and_report(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            model = args[0] if args else kwargs.get("model")
            route = routes.enter(trainer, model, call.__name__)
            try:
                hooks = route.hooks
                if hooks is None or not hooks.enter(trainer, self._patch_loggers, call.__name__):
                    return call(trainer, *args, **kwargs)
                self._entered(hooks, trainer)
                try:
                    result = call(trainer, *args, **kwargs)
                except BaseException as error:
                    hooks.leave(trainer, error)
                    raise
                hooks.leave(trainer, None)
                return result
            finally:
                routes.leave(trainer, route)

        return call_and_report
