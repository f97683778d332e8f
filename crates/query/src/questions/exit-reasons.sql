-- Why each VM exits, and how long that takes until its vCPU is in the guest again.
SELECT node, capture, vm_id, reason, sum(count) AS exits,
    sum(CASE WHEN latency_class IS NULL THEN 0 ELSE count END) AS with_reentry,
    sum(latency_tsc) AS ticks
FROM lod_exits
WHERE level = 10
GROUP BY node, capture, vm_id, reason
ORDER BY node, capture, vm_id, exits DESC, coalesce(reason, -1)
