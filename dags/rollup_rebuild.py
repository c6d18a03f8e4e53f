"""Rebuilds the rollup of a range of dates, when somebody asks for it."""

from __future__ import annotations

from airflow.sdk import Param, dag

from deployment import DAG_ARGS, LONG_WORK, WAREHOUSE_POOL
from node_cli import JsonObject, NodeCliOperator


def optional_date(title: str, description: str) -> Param:
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def to_rebuild(partitions: list[JsonObject]) -> list[JsonObject]:
    """Each partition is a task of its own: it is named in the grid, and tried again alone."""
    return [{"about": one["partition"]} for one in partitions if one["state"] != "detached"]


@dag(
    schedule=None,
    **DAG_ARGS,
    tags=["rollbook", "maintenance"],
    params={
        "from": optional_date("From", "First creation date. Empty: from the first partition."),
        "to": optional_date("To", "End of the creation dates (exclusive). Empty: to the last one."),
        "strategy": Param(
            "partition",
            type="string",
            enum=["partition", "delta", "auto"],
            title="Strategy",
            description="partition: recompute from the invoices; delta: apply what is pending; auto: what is cheaper.",
        ),
    },
    description=__doc__,
    doc_md="""
### Rebuild by hand

For a range of creation dates; needed after rows were changed by hand or a backup was restored. All strategies end in the same rollup, and
readers see each partition before or after, never between.
""",
)
def rollup_rebuild() -> None:
    list_partitions = NodeCliOperator(
        task_id="list_partitions",
        arguments=[
            "partitions",
            "list",
            "--json",
            "{{ '--from=' ~ params['from'] if params['from'] else '' }}",
            "{{ '--to=' ~ params['to'] if params['to'] else '' }}",
        ],
        digest=to_rebuild,
        skip_when_empty=True,
        doc_md="The partitions of the range.",
    )
    NodeCliOperator.partial(
        task_id="rebuild",
        arguments=[
            "refresh",
            "--json",
            "--strategy",
            "{{ params.strategy }}",
            "--partition={{ task.about }}",
        ],
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        map_index_template="{{ task.about }}",
        doc_md="Rebuilds one partition.",
    ).expand_kwargs(list_partitions.output)


rollup_rebuild()
