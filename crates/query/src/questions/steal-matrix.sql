-- Who had the cpu while a VM's vCPUs were off it: the VM, or the host.
WITH taken AS (
    SELECT l.node, l.capture, c.vm_id, l.state, l.by_kind, CASE WHEN l.by_kind = 'vm' THEN l.by_id END AS by_vm_id,
        sum(l.busy_tsc) AS ticks
    FROM lod l
    JOIN vcpus c ON c.node = l.node AND c.capture = l.capture AND c.vcpu_id = l.track_id
    WHERE l.level = 10 AND l.track_kind = 'vcpu' AND l.by_kind IS NOT NULL
    GROUP BY l.node, l.capture, c.vm_id, l.state, l.by_kind, CASE WHEN l.by_kind = 'vm' THEN l.by_id END
)
SELECT t.node, t.capture, t.vm_id, v.name, t.state, t.by_kind, t.by_vm_id, b.name AS by_name, t.ticks
FROM taken t
JOIN vms v ON v.node = t.node AND v.capture = t.capture AND v.vm_id = t.vm_id
LEFT JOIN vms b ON b.node = t.node AND b.capture = t.capture AND b.vm_id = t.by_vm_id
ORDER BY t.ticks DESC, t.node, t.capture, t.vm_id, t.state, t.by_kind, coalesce(t.by_vm_id, -1)
