-- VMs of one uuid or name, on however many nodes: where they were, and how long they ran.
WITH ran AS (
    SELECT l.node, l.capture, c.vm_id, sum(l.busy_tsc) AS ticks
    FROM lod l
    JOIN vcpus c ON c.node = l.node AND c.capture = l.capture AND c.vcpu_id = l.track_id
    WHERE l.level = 10 AND l.track_kind = 'vcpu' AND l.state = 'guest'
    GROUP BY l.node, l.capture, c.vm_id
)
SELECT coalesce(v.uuid, v.name) AS vm, count(DISTINCT v.node) AS nodes, count(*) AS times_seen,
    min(v.node) AS first_node, max(v.node) AS last_node,
    sum(CAST(coalesce(r.ticks, 0) AS DOUBLE) / a.tsc_hz) AS guest_seconds
FROM vms v
JOIN captures a ON a.node = v.node AND a.capture = v.capture
LEFT JOIN ran r ON r.node = v.node AND r.capture = v.capture AND r.vm_id = v.vm_id
WHERE coalesce(v.uuid, v.name) IS NOT NULL
GROUP BY coalesce(v.uuid, v.name)
ORDER BY nodes DESC, vm
