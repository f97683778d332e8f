-- The guest processes that ran longest.
WITH spent AS (
    SELECT node, capture, track_id AS process_id, sum(busy_tsc) AS ticks
    FROM lod
    WHERE level = 10 AND track_kind = 'process' AND state = 'guest'
    GROUP BY node, capture, track_id
)
SELECT s.node, s.capture, p.vm_id, v.name AS vm, s.process_id, p.cr3, p.name, s.ticks,
    CAST(s.ticks AS DOUBLE) / a.tsc_hz AS seconds
FROM spent s
JOIN processes p ON p.node = s.node AND p.capture = s.capture AND p.process_id = s.process_id
JOIN vms v ON v.node = s.node AND v.capture = s.capture AND v.vm_id = p.vm_id
JOIN captures a ON a.node = s.node AND a.capture = s.capture
ORDER BY s.ticks DESC, s.node, s.capture, s.process_id
LIMIT 20
