-- How closely the moments of exits are known: the width of their bounds, in ticks.
SELECT node, capture, vm_id, count(*) AS exits,
    sum(CASE WHEN exit_hi_tsc = exit_lo_tsc THEN 1 ELSE 0 END) AS exact,
    avg(CAST(exit_hi_tsc - exit_lo_tsc AS DOUBLE)) AS mean_ticks,
    max(exit_hi_tsc - exit_lo_tsc) AS widest_ticks
FROM exits
GROUP BY node, capture, vm_id
ORDER BY node, capture, vm_id
