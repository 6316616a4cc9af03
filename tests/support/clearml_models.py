"""Models and artifacts in the double of the ClearML API server, as the source of the real one has them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.clearml_server import StoredTask


class RefusedError(Exception):
    """The server's answer to a call that it does not take."""

    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(message)
        self.code, self.subcode, self.message = code, subcode, message


class ModelCalls:
    """The endpoints; `models` are the models by id, each a record of the server's."""

    tasks: dict[str, StoredTask]
    models: dict[str, dict[str, Any]]

    def _task(self, call: dict[str, Any], *, to_edit: bool = False) -> StoredTask:
        raise NotImplementedError

    def _model(self, call: dict[str, Any]) -> dict[str, Any]:
        if call["model"] not in self.models:
            raise RefusedError(400, 201, f"Invalid model id: id={call['model']}, company=the-company")
        return self.models[call["model"]]

    def _events_get_task_log(self, call: dict[str, Any]) -> dict[str, Any]:
        """The last log events, the last one first."""
        found = sorted(self._task(call).log, key=lambda event: event["timestamp"], reverse=True)
        return {"events": found[: call["batch_size"]], "returned": len(found), "total": len(found)}

    def _models_create(self, call: dict[str, Any]) -> dict[str, Any]:
        if len(call["name"].strip()) < 3:
            raise RefusedError(400, 800, "Data validation error: name=String value is too short")
        if call.get("task"):
            self._task(call)
        # The real one takes a model for published where nothing is said of it.
        model = {"ready": True, "tags": [], "system_tags": [], "labels": {}, "metadata": {}, **call}
        model["id"] = uuid.uuid4().hex
        self.models[model["id"]] = model
        return {"id": model["id"], "created": True}

    def _models_edit(self, call: dict[str, Any]) -> dict[str, Any]:
        model = self._model(call)
        model.update({name: value for name, value in call.items() if name not in ("model", "iteration")})
        return {"updated": 1, "fields": {}}

    def _models_get_by_id(self, call: dict[str, Any]) -> dict[str, Any]:
        return {"model": self._model(call)}

    def _models_get_all(self, call: dict[str, Any]) -> dict[str, Any]:
        fields = call.get("only_fields")
        wanted = [
            model
            for model in self.models.values()
            if model["id"] in (call.get("id") or self.models)
            and model.get("task") in (call.get("task") or [model.get("task")])
        ]
        return {"models": [{name: one[name] for name in one if not fields or name in fields} for one in wanted]}

    def _models_add_or_update_metadata(self, call: dict[str, Any]) -> dict[str, Any]:
        self._model(call)["metadata"].update({item["key"]: item for item in call["metadata"]})
        return {"updated": 1}

    def _models_delete(self, call: dict[str, Any]) -> dict[str, Any]:
        model = self._model(call)
        if model.get("task") in self.tasks:
            outputs = self.tasks[model["task"]].outputs
            for name in [name for name, held in outputs.items() if held == model["id"]]:
                del outputs[name]
        del self.models[model["id"]]
        return {"deleted": True, "url": model["uri"]}

    def _tasks_add_or_update_model(self, call: dict[str, Any]) -> dict[str, Any]:
        assert call["type"] == "output"
        self._task({**call, "force": True}, to_edit=True).outputs[call["name"]] = self._model(call)["id"]
        return {"updated": 1}

    def _tasks_add_or_update_artifacts(self, call: dict[str, Any]) -> dict[str, Any]:
        artifacts = self._task(call, to_edit=True).fields.setdefault("execution", {}).setdefault("artifacts", [])
        keys = {one["key"] for one in call["artifacts"]}
        artifacts[:] = [*(one for one in artifacts if one["key"] not in keys), *call["artifacts"]]
        return {"updated": 1}
