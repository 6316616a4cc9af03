"""Records what `LightningCLI` has read from command line and files: its `config.yaml`, and its arguments.

Lightning's own `SaveConfigCallback` writes that file into the directory of a logger, where it is on. What is recorded
is the same text, also where it is off. It is made when a trainer starts, on the thread that trains, as Lightning does:
the parser may change the working directory while it looks at paths.
"""

from __future__ import annotations

import functools
import json
import re
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from tracelet_otel._support.environment import secrets
from tracelet_otel._support.private_names import COMMAND_LINE, check_package
from tracelet_otel._support.redact import HIDDEN, without_secrets
from tracelet_otel.instrumentation.lightning.attachment import Attachment
from tracelet_otel.instrumentation.lightning.hooks import Hooks
from tracelet_otel.instrumentation.lightning.secret_arguments import arguments_by_name, yaml_without_secrets
from tracelet_otel.protocol.files import CONFIG_FILE

_SAVES: Final = "SaveConfigCallback"
"""Class of the callback with which Lightning saves the configuration."""

_BARE: Final = re.compile(rf"(?m)((?::|-)[ \t]+){re.escape(HIDDEN)}$")
"""A hidden value that is not in quotes. In YAML an asterisk begins an alias."""


class CommandLines:
    """The configuration of trainers that a `LightningCLI` has made.

    Args:
        attachment: what the instrumentor lends its parts.
    """

    modules: Final = tuple(COMMAND_LINE.packages)
    """Modules that have what is wrapped."""

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._made_by: weakref.WeakKeyDictionary[Any, Callable[[], Any]] = weakref.WeakKeyDictionary()
        """By trainer, what returns the `LightningCLI` that has made it, or None where that is gone."""

    def patch(self, module: ModuleType) -> None:
        """Wrap the function of one of `modules` that makes the trainer.

        Raises:
            IncompatibleVersionError: a private name is missing.
            TypeError: what is there is no plain function.
        """
        check_package(COMMAND_LINE, module.__name__)
        self._attachment.put(module.LightningCLI, "instantiate_classes", self._wrap)

    def report(self, hooks: Hooks, trainer: Any) -> None:
        """Record the configuration of a trainer that starts, where a `LightningCLI` has made it. Never raises.

        Args:
            hooks: where it is recorded.
            trainer: the trainer.
        """
        signals = hooks.signals
        try:
            # Hyperparameters are those of rank 0.
            if signals.membership.rank or hooks.lifecycle.is_silent(trainer):
                return
            found = self._configuration_of(trainer)
            if found is None:
                return
            parser, config = found
            text = parser.dump(config, skip_none=False)
            # With targets of links, which the file lacks since they follow from the rest.
            arguments = json.loads(parser.dump(config, format="json", skip_none=False, skip_link_targets=False))
            known = secrets()
            named, hidden = arguments_by_name(arguments, known)
            signals.hparams.update(named)
            shown = without_secrets(yaml_without_secrets(text), [*known, *hidden], by_name=False)
            signals.own_files.add(CONFIG_FILE, lambda: _BARE.sub(rf"\1'{HIDDEN}'", shown))
        except Exception as error:
            signals.guard.report("the configuration of the command line is not recorded", error)

    def _configuration_of(self, trainer: Any) -> tuple[Any, Any] | None:
        """Parser and parsed configuration; None where no `LightningCLI` is known to have made the trainer."""
        for callback in trainer.callbacks:
            if any(base.__name__ == _SAVES for base in type(callback).__mro__):
                return callback.parser, callback.config
        cli = self._made_by.get(trainer, lambda: None)()
        if cli is None:
            return None
        # As Lightning hands them to that callback.
        return cli._parser(cli.subcommand), cli.config.get(str(cli.subcommand), cli.config)

    def _wrap(self, instantiate_classes: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(instantiate_classes)
        def instantiate_and_remember(cli: Any, *args: Any, **kwargs: Any) -> Any:
            result = instantiate_classes(cli, *args, **kwargs)
            hooks = self._attachment.current()
            if hooks is not None:
                try:
                    self._made_by[cli.trainer] = weakref.ref(cli)
                except Exception as error:
                    hooks.guard.report("the configuration of the command line is not recorded", error)
            return result

        return instantiate_and_remember
