"""The named questions in polars' own words, without SQL: each is thought through anew, so that an error in the SQL shows."""

import polars as pl
from polars import col

KEY = ["node", "capture"]


def _cls(t, kind):
    return t("lod").filter((col("level") == 10) & (col("track_kind") == kind))


def _span(t):
    return t("captures").select(*KEY, "tsc_hz", "cpus", span=col("last_tsc") - col("first_tsc"))


def _vms(t):
    return t("vms").select(*KEY, "vm_id", "name")


def _of_vm(t):
    """Ticks of vCPUs, with the VM of each."""
    vcpus = t("vcpus").select(*KEY, "vcpu_id", "vm_id")
    left = _cls(t, "vcpu").drop("vcpu_id").rename({"track_id": "vcpu_id"})
    return left.join(vcpus, on=[*KEY, "vcpu_id"])


def _ticks(of, *by):
    return of.group_by(*KEY, *by).agg(ticks=col("busy_tsc").sum())


def cpu_states(t):
    return (
        _ticks(_cls(t, "cpu").rename({"track_id": "cpu"}), "cpu", "state")
        .with_columns(share=col("ticks") / col("ticks").sum().over(*KEY, "cpu"))
        .sort(*KEY, "cpu", "ticks", "state", descending=[False, False, False, True, False])
        .select(*KEY, "cpu", "state", "ticks", "share")
    )


def vm_states(t):
    return (
        _ticks(_of_vm(t), "vm_id", "state")
        .with_columns(share=col("ticks") / col("ticks").sum().over(*KEY, "vm_id"))
        .join(_vms(t), on=[*KEY, "vm_id"])
        .sort(*KEY, "vm_id", "ticks", "state", descending=[False, False, False, True, False])
        .select(*KEY, "vm_id", "name", "state", "ticks", "share")
    )


def cpus_used(t):
    ran = col("busy_tsc").filter(col("state") == "guest").sum()
    worked = col("busy_tsc").filter(col("state") == "hypervisor").sum()
    return (
        _of_vm(t)
        .group_by(*KEY, "vm_id")
        .agg(ran=ran, worked=worked)
        .join(_vms(t), on=[*KEY, "vm_id"])
        .join(_span(t), on=KEY)
        .with_columns(guest_cpus=col("ran") / col("span"), cpus=(col("ran") + col("worked")) / col("span"))
        .sort("cpus", *KEY, "vm_id", descending=[True, False, False, False])
        .select(*KEY, "vm_id", "name", "guest_cpus", "cpus")
    )


def top_processes(t):
    guests = _cls(t, "process").filter(col("state") == "guest").rename({"track_id": "process_id"})
    processes = t("processes").select(*KEY, "process_id", "vm_id", "cr3", "name")
    return (
        _ticks(guests, "process_id")
        .join(processes, on=[*KEY, "process_id"])
        .join(_vms(t).rename({"name": "vm"}), on=[*KEY, "vm_id"])
        .join(_span(t), on=KEY)
        .with_columns(seconds=col("ticks") / col("tsc_hz"))
        .sort("ticks", *KEY, "process_id", descending=[True, False, False, False])
        .head(20)
        .select(*KEY, "vm_id", "vm", "process_id", "cr3", "name", "ticks", "seconds")
    )


def exit_rates(t):
    # Of the exits themselves, not of their summary.
    return (
        t("exits")
        .group_by(*KEY, "vm_id")
        .agg(exits=pl.len())
        .join(_vms(t), on=[*KEY, "vm_id"])
        .join(_span(t), on=KEY)
        .with_columns(rate=col("exits") * col("tsc_hz") / col("span"))
        .sort("exits", *KEY, "vm_id", descending=[True, False, False, False])
        .select(*KEY, "vm_id", "name", "exits", "rate")
    )


def exit_reasons(t):
    return (
        t("exits")
        .group_by(*KEY, "vm_id", "reason")
        .agg(
            exits=pl.len(),
            back=col("reentry_tsc").is_not_null().sum(),
            ticks=(col("reentry_tsc") - col("exit_tsc")).sum(),
        )
        .with_columns(known=col("reason").fill_null(-1))
        .sort(*KEY, "vm_id", "exits", "known", descending=[False, False, False, True, False])
        .select(*KEY, "vm_id", "reason", "exits", "back", "ticks")
    )


def _percentiles(lengths, name):
    """Of each VM the smallest length that so many are not longer than."""

    def at(num, den):
        return col("ticks").sort().get((col("ticks").len().cast(pl.Int64) * num + den - 1) // den - 1)

    return (
        lengths.filter(col("ticks").is_not_null())
        .group_by(*KEY, "vm_id")
        .agg(
            pl.len().alias(name),
            p50=at(1, 2),
            p90=at(9, 10),
            p99=at(99, 100),
            p999=at(999, 1000),
            longest=col("ticks").max(),
        )
        .sort(*KEY, "vm_id")
    )


def exit_percentiles(t):
    return _percentiles(t("exits").select(*KEY, "vm_id", ticks=col("reentry_tsc") - col("exit_tsc")), "exits")


def run_percentiles(t):
    return _percentiles(t("exits").select(*KEY, "vm_id", ticks=col("exit_tsc") - col("entry_tsc")), "runs")


def steal_matrix(t):
    by_vm = pl.when(col("by_kind") == "vm").then(col("by_id"))
    names = _vms(t)
    return (
        _ticks(
            _of_vm(t).filter(col("by_kind").is_not_null()).with_columns(by_vm_id=by_vm),
            "vm_id",
            "state",
            "by_kind",
            "by_vm_id",
        )
        .join(names, on=[*KEY, "vm_id"])
        .join(names.rename({"vm_id": "by_vm_id", "name": "by_name"}), on=[*KEY, "by_vm_id"], how="left")
        .with_columns(order=col("by_vm_id").fill_null(-1))
        .sort(
            "ticks",
            *KEY,
            "vm_id",
            "state",
            "by_kind",
            "order",
            descending=[True, False, False, False, False, False, False],
        )
        .select(*KEY, "vm_id", "name", "state", "by_kind", "by_vm_id", "by_name", "ticks")
    )


def host_takers(t):
    processes = t("processes").select(*KEY, "process_id", "cr3", process="name")
    return (
        t("vcpu_states")
        .filter((col("state") == "preempted") & (col("taken_by_kind") == "host"))
        .group_by(*KEY, "vm_id", "taken_by_id", "taken_by_tid")
        .agg(times=pl.len(), ticks=(col("end_tsc") - col("start_tsc")).sum())
        .rename({"taken_by_id": "process_id", "taken_by_tid": "tid"})
        .join(processes, on=[*KEY, "process_id"], how="left")
        .with_columns(o=col("process_id").fill_null(-1), p=col("tid").fill_null(-1))
        .sort("ticks", *KEY, "vm_id", "o", "p", descending=[True, False, False, False, False, False])
        .head(100)
        .select(*KEY, "vm_id", "process_id", "cr3", "process", "tid", "times", "ticks")
    )


def longest_preemptions(t):
    return (
        t("vcpu_states")
        .filter(col("state") == "preempted")
        .with_columns(ticks=col("end_tsc") - col("start_tsc"))
        .sort("ticks", *KEY, "vcpu_id", "start_tsc", descending=[True, False, False, False, False])
        .head(20)
        .select(
            *KEY,
            "vm_id",
            "vcpu_id",
            "start_tsc",
            "end_tsc",
            "start_ns",
            "ticks",
            "evidence",
            "cpu",
            "taken_by_kind",
            "taken_by_id",
        )
    )


def slowest_exits(t):
    return (
        t("exits")
        .filter(col("reentry_tsc").is_not_null())
        .with_columns(ticks=col("reentry_tsc") - col("exit_tsc"))
        .sort("ticks", *KEY, "exit_id", descending=[True, False, False, False])
        .head(20)
        .select(
            *KEY,
            "vm_id",
            "vcpu_id",
            "exit_id",
            "exit_tsc",
            "exit_ns",
            "ticks",
            "reason",
            "cpu",
            "reentry_cpu",
            "evidence",
        )
    )


def losses(t):
    return (
        t("losses")
        .group_by(*KEY, "cpu", "cause")
        .agg(losses=pl.len(), ticks=(col("end_tsc") - col("start_tsc")).sum(), bytes=col("bytes").sum())
        .join(_span(t), on=KEY)
        .with_columns(share=col("ticks") / col("span"))
        .sort(*KEY, "cpu", "cause")
        .select(*KEY, "cpu", "cause", "losses", "ticks", "bytes", "share")
    )


def gaps(t):
    length = col("end_tsc") - col("start_tsc")
    return (
        t("cpu_states")
        .filter(col("state").is_in(["lost", "unknown"]))
        .group_by(*KEY, "cpu", "state")
        .agg(gaps=pl.len(), ticks=length.sum(), longest=length.max())
        .sort(*KEY, "cpu", "state")
    )


def migrations(t):
    return (
        t("exits")
        .filter(col("reentry_cpu").is_not_null())
        .group_by(*KEY, "vm_id", "vcpu_id")
        .agg(reentries=pl.len(), elsewhere=(col("reentry_cpu") != col("cpu")).sum())
        .sort("elsewhere", *KEY, "vcpu_id", descending=[True, False, False, False])
        .select(*KEY, "vm_id", "vcpu_id", "reentries", "elsewhere")
    )


def evidence(t):
    # Of the states themselves, not of their summary.
    return (
        t("vcpu_states")
        .group_by(*KEY, "state", "evidence")
        .agg(ticks=(col("end_tsc") - col("start_tsc")).sum())
        .filter(col("ticks") > 0)
        .with_columns(share=col("ticks") / col("ticks").sum().over(*KEY))
        .sort(*KEY, "state", "evidence")
    )


def bounds(t):
    width = col("exit_hi_tsc") - col("exit_lo_tsc")
    return (
        t("exits")
        .group_by(*KEY, "vm_id")
        .agg(exits=pl.len(), exact=(width == 0).sum(), mean=width.mean(), widest=width.max())
        .sort(*KEY, "vm_id")
    )


def nodes(t):
    # Of the states themselves, not of their summary.
    length = col("end_tsc") - col("start_tsc")

    def share(*states):
        return length.filter(col("state").is_in(states)).sum() / length.sum()

    cpus = (
        t("cpu_states")
        .group_by(KEY)
        .agg(
            guest=share("guest"),
            hypervisor=share("hypervisor"),
            idle=share("idle"),
            not_known=share("lost", "unknown"),
        )
    )
    off = t("vcpu_states").group_by(KEY).agg(off=length.filter(col("state") == "preempted").sum())
    vms = t("vms").group_by(KEY).agg(vms=pl.len())
    found = t("findings").group_by(KEY).agg(findings=pl.len(), high=(col("severity") == "high").sum())
    return (
        _span(t)
        .join(cpus, on=KEY)
        .join(off, on=KEY, how="left")
        .join(vms, on=KEY, how="left")
        .join(found, on=KEY, how="left")
        .sort(KEY)
        .select(
            *KEY,
            "cpus",
            col("vms").fill_null(0),
            col("span") / col("tsc_hz"),
            "guest",
            "hypervisor",
            "idle",
            "not_known",
            (col("off").fill_null(0) / col("tsc_hz")).alias("preempted"),
            col("findings").fill_null(0),
            col("high").fill_null(0),
        )
    )


def vms_across_nodes(t):
    ran = _ticks(_of_vm(t).filter(col("state") == "guest"), "vm_id")
    return (
        t("vms")
        .with_columns(vm=pl.coalesce("uuid", "name"))
        .filter(col("vm").is_not_null())
        .join(_span(t), on=KEY)
        .join(ran, on=[*KEY, "vm_id"], how="left")
        .group_by("vm")
        .agg(
            nodes=col("node").n_unique(),
            seen=pl.len(),
            first=col("node").min(),
            last=col("node").max(),
            seconds=(col("ticks").fill_null(0) / col("tsc_hz")).sum(),
        )
        .sort("nodes", "vm", descending=[True, False])
        .select("vm", "nodes", "seen", "first", "last", "seconds")
    )


def during_findings(t):
    spans = t("finding_spans").select(*KEY, "finding_id", "cpu", a="start_tsc", b="end_tsc")
    states = t("cpu_states").select(*KEY, "state", "vm_id", on="cpu", c="start_tsc", d="end_tsc")
    return (
        spans.join(t("findings").select(*KEY, "finding_id", "kind", "severity"), on=[*KEY, "finding_id"])
        .rename({"node": "n", "capture": "k"})
        .join_where(
            states,
            col("n") == col("node"),
            col("k") == col("capture"),
            col("cpu") == col("on"),
            col("c") < col("b"),
            col("a") < col("d"),
        )
        .with_columns(ticks=pl.min_horizontal("b", "d") - pl.max_horizontal("a", "c"))
        .group_by(*KEY, "finding_id", "kind", "severity", "cpu", "state", "vm_id")
        .agg(col("ticks").sum())
        .with_columns(order=col("vm_id").fill_null(-1))
        .sort(
            *KEY,
            "finding_id",
            "cpu",
            "ticks",
            "state",
            "order",
            descending=[False, False, False, False, True, False, False],
        )
        .select(*KEY, "finding_id", "kind", "severity", "cpu", "state", "vm_id", "ticks")
    )


def ask(name, t):
    """The rows that answer the question of that name; `t` gives a table."""
    return globals()[name.replace("-", "_")](t).collect().rows()
