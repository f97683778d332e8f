-- The exits that took longest until their vCPU was in its guest again, and why they were.
SELECT node, capture, vm_id, vcpu_id, exit_id, exit_tsc, exit_ns, reentry_tsc - exit_tsc AS ticks, reason, cpu,
    reentry_cpu, evidence
FROM exits
WHERE reentry_tsc IS NOT NULL
ORDER BY ticks DESC, node, capture, exit_id
LIMIT 20
