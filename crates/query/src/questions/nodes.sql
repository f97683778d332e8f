-- Each node: how much of it its VMs had, what it lost, and what is wrong.
WITH cpus AS (
    SELECT node, capture, sum(busy_tsc) AS ticks,
        sum(CASE WHEN state = 'guest' THEN busy_tsc ELSE 0 END) AS guest,
        sum(CASE WHEN state = 'hypervisor' THEN busy_tsc ELSE 0 END) AS hypervisor,
        sum(CASE WHEN state = 'idle' THEN busy_tsc ELSE 0 END) AS idle,
        sum(CASE WHEN state IN ('lost', 'unknown') THEN busy_tsc ELSE 0 END) AS not_known
    FROM lod
    WHERE level = 10 AND track_kind = 'cpu'
    GROUP BY node, capture
),
vcpus_of AS (
    SELECT node, capture, sum(CASE WHEN state = 'preempted' THEN busy_tsc ELSE 0 END) AS preempted
    FROM lod
    WHERE level = 10 AND track_kind = 'vcpu'
    GROUP BY node, capture
),
vms_of AS (SELECT node, capture, count(*) AS vms FROM vms GROUP BY node, capture),
found AS (
    SELECT node, capture, count(*) AS findings, sum(CASE WHEN severity = 'high' THEN 1 ELSE 0 END) AS high
    FROM findings
    GROUP BY node, capture
)
SELECT a.node, a.capture, a.cpus, coalesce(v.vms, 0) AS vms,
    CAST(a.last_tsc - a.first_tsc AS DOUBLE) / a.tsc_hz AS seconds,
    CAST(c.guest AS DOUBLE) / c.ticks AS guest,
    CAST(c.hypervisor AS DOUBLE) / c.ticks AS hypervisor,
    CAST(c.idle AS DOUBLE) / c.ticks AS idle,
    CAST(c.not_known AS DOUBLE) / c.ticks AS not_known,
    CAST(coalesce(p.preempted, 0) AS DOUBLE) / a.tsc_hz AS preempted_seconds,
    coalesce(f.findings, 0) AS findings, coalesce(f.high, 0) AS high
FROM captures a
JOIN cpus c ON c.node = a.node AND c.capture = a.capture
LEFT JOIN vcpus_of p ON p.node = a.node AND p.capture = a.capture
LEFT JOIN vms_of v ON v.node = a.node AND v.capture = a.capture
LEFT JOIN found f ON f.node = a.node AND f.capture = a.capture
ORDER BY a.node, a.capture
