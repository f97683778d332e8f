-- How often each VM exits, a second.
WITH counted AS (
    SELECT node, capture, vm_id, sum(count) AS exits
    FROM lod_exits
    WHERE level = 10
    GROUP BY node, capture, vm_id
)
SELECT c.node, c.capture, c.vm_id, v.name, c.exits,
    CAST(c.exits AS DOUBLE) * a.tsc_hz / (a.last_tsc - a.first_tsc) AS exits_per_second
FROM counted c
JOIN vms v ON v.node = c.node AND v.capture = c.capture AND v.vm_id = c.vm_id
JOIN captures a ON a.node = c.node AND a.capture = c.capture
ORDER BY c.exits DESC, c.node, c.capture, c.vm_id
