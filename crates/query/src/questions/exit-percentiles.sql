-- How long exits take until the vCPU is in its guest again: percentiles, in ticks.
WITH lengths AS (
    SELECT node, capture, vm_id, reentry_tsc - exit_tsc AS ticks, count(*) AS n
    FROM exits
    WHERE reentry_tsc IS NOT NULL
    GROUP BY node, capture, vm_id, reentry_tsc - exit_tsc
),
ranked AS (
    SELECT node, capture, vm_id, ticks,
        sum(n) OVER (PARTITION BY node, capture, vm_id ORDER BY ticks) AS up_to,
        sum(n) OVER (PARTITION BY node, capture, vm_id) AS total
    FROM lengths
)
SELECT node, capture, vm_id, max(total) AS exits,
    min(CASE WHEN up_to * 2 >= total THEN ticks END) AS p50,
    min(CASE WHEN up_to * 10 >= total * 9 THEN ticks END) AS p90,
    min(CASE WHEN up_to * 100 >= total * 99 THEN ticks END) AS p99,
    min(CASE WHEN up_to * 1000 >= total * 999 THEN ticks END) AS p999,
    max(ticks) AS longest
FROM ranked
GROUP BY node, capture, vm_id
ORDER BY node, capture, vm_id
