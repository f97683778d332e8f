-- The longest stretches in which a vCPU wanted a cpu and had none.
SELECT node, capture, vm_id, vcpu_id, start_tsc, end_tsc, start_ns, end_tsc - start_tsc AS ticks, evidence, cpu,
    taken_by_kind, taken_by_id
FROM vcpu_states
WHERE state = 'preempted'
ORDER BY ticks DESC, node, capture, vcpu_id, start_tsc
LIMIT 20
