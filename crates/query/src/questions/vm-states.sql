-- How long the vCPUs of each VM were in each state.
WITH spent AS (
    SELECT l.node, l.capture, c.vm_id, l.state, sum(l.busy_tsc) AS ticks
    FROM lod l
    JOIN vcpus c ON c.node = l.node AND c.capture = l.capture AND c.vcpu_id = l.track_id
    WHERE l.level = 10 AND l.track_kind = 'vcpu'
    GROUP BY l.node, l.capture, c.vm_id, l.state
)
SELECT s.node, s.capture, s.vm_id, v.name, s.state, s.ticks,
    CAST(s.ticks AS DOUBLE) / sum(s.ticks) OVER (PARTITION BY s.node, s.capture, s.vm_id) AS share
FROM spent s
JOIN vms v ON v.node = s.node AND v.capture = s.capture AND v.vm_id = s.vm_id
ORDER BY s.node, s.capture, s.vm_id, s.ticks DESC, s.state
