-- How many cpus each VM used, on average: in its guest, and with the hypervisor's work for it.
WITH spent AS (
    SELECT l.node, l.capture, c.vm_id,
        sum(CASE WHEN l.state = 'guest' THEN l.busy_tsc ELSE 0 END) AS guest_ticks,
        sum(CASE WHEN l.state = 'hypervisor' THEN l.busy_tsc ELSE 0 END) AS hypervisor_ticks
    FROM lod l
    JOIN vcpus c ON c.node = l.node AND c.capture = l.capture AND c.vcpu_id = l.track_id
    WHERE l.level = 10 AND l.track_kind = 'vcpu'
    GROUP BY l.node, l.capture, c.vm_id
)
SELECT s.node, s.capture, s.vm_id, v.name,
    CAST(s.guest_ticks AS DOUBLE) / (a.last_tsc - a.first_tsc) AS guest_cpus,
    CAST(s.guest_ticks + s.hypervisor_ticks AS DOUBLE) / (a.last_tsc - a.first_tsc) AS cpus
FROM spent s
JOIN vms v ON v.node = s.node AND v.capture = s.capture AND v.vm_id = s.vm_id
JOIN captures a ON a.node = s.node AND a.capture = s.capture
ORDER BY cpus DESC, s.node, s.capture, s.vm_id
