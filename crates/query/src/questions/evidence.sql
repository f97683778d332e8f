-- How the states of vCPUs are known.
WITH spent AS (
    SELECT node, capture, state, evidence, sum(busy_tsc) AS ticks
    FROM lod
    WHERE level = 10 AND track_kind = 'vcpu'
    GROUP BY node, capture, state, evidence
)
SELECT node, capture, state, evidence, ticks,
    CAST(ticks AS DOUBLE) / sum(ticks) OVER (PARTITION BY node, capture) AS share
FROM spent
ORDER BY node, capture, state, evidence
