-- How often each vCPU came back on another cpu than it left.
SELECT node, capture, vm_id, vcpu_id, count(*) AS reentries,
    sum(CASE WHEN reentry_cpu <> cpu THEN 1 ELSE 0 END) AS on_another_cpu
FROM exits
WHERE reentry_cpu IS NOT NULL
GROUP BY node, capture, vm_id, vcpu_id
ORDER BY on_another_cpu DESC, node, capture, vcpu_id
