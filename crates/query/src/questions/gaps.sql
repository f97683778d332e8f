-- Where nothing is known of a cpu: how often, how long together, and the longest.
SELECT node, capture, cpu, state, count(*) AS gaps, sum(end_tsc - start_tsc) AS ticks,
    max(end_tsc - start_tsc) AS longest
FROM cpu_states
WHERE state IN ('lost', 'unknown')
GROUP BY node, capture, cpu, state
ORDER BY node, capture, cpu, state
