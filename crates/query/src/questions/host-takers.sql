-- Which processes and threads of the host had the cpu while a vCPU was preempted.
WITH taken AS (
    SELECT node, capture, vm_id, taken_by_id AS process_id, taken_by_tid AS tid, count(*) AS times,
        sum(end_tsc - start_tsc) AS ticks
    FROM vcpu_states
    WHERE state = 'preempted' AND taken_by_kind = 'host'
    GROUP BY node, capture, vm_id, taken_by_id, taken_by_tid
)
SELECT t.node, t.capture, t.vm_id, t.process_id, p.cr3, p.name AS process, t.tid, t.times, t.ticks
FROM taken t
LEFT JOIN processes p ON p.node = t.node AND p.capture = t.capture AND p.process_id = t.process_id
ORDER BY t.ticks DESC, t.node, t.capture, t.vm_id, coalesce(t.process_id, -1), coalesce(t.tid, -1)
LIMIT 100
