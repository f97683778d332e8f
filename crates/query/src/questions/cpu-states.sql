-- How long each cpu was in each state.
WITH spent AS (
    SELECT node, capture, track_id AS cpu, state, sum(busy_tsc) AS ticks
    FROM lod
    WHERE level = 10 AND track_kind = 'cpu'
    GROUP BY node, capture, track_id, state
)
SELECT node, capture, cpu, state, ticks,
    CAST(ticks AS DOUBLE) / sum(ticks) OVER (PARTITION BY node, capture, cpu) AS share
FROM spent
ORDER BY node, capture, cpu, ticks DESC, state
