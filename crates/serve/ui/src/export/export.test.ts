import { describe, expect, it } from 'vitest';
import { DARK, Palette } from '../draw/palette';
import { data, sums } from '../test/data';
import { csvField, sumsCsv } from './csv';
import { escapeXml, svgPicture } from './svg';

describe('csv', () => {
  it('quotes what must be quoted', () => {
    expect(['a', 'a,b', 'say "x"', 'two\nlines', 3].map(csvField)).toEqual(['a', '"a,b"', '"say ""x"""', '"two\nlines"', '3']);
  });
  it('has a row a track, state, evidence and taker', () => {
    const lines = sumsCsv(sums, data).split('\r\n');
    expect(lines).toHaveLength(sums.table.length + 2);
    expect(lines[1]).toBe('0,1000,cpu,0,cpu 0,,,guest,observed,web-2,700,7e-7,0.7,4');
    expect(lines).toContain('0,1000,vcpu,2,vCPU 0,1,vm 1,preempted,inferred,web-2,450,4.5e-7,0.45,2');
    expect(lines).toContain('0,1000,process,1,"nginx, worker",0,web-2,guest,observed,,100,1e-7,0.1,2');
  });
});

describe('svg', () => {
  const p = new Palette(DARK, 1);
  const guest = p.styleOf('vcpu', 0, 0, 0, 0, -1);
  const lost = p.styleOf('vcpu', 0, 8, 3, 0, -1);
  const text = svgPicture({
    title: 'a & <b>',
    width: 100,
    height: 40,
    names: 50,
    background: '#000000',
    ink: '#ffffff',
    rows: [{ y: 10, indent: 0, text: 'vm "1"' }],
    ticks: [{ x: 5, text: '1 s' }],
    rects: [
      { x: 0, y: 0, width: 10.004, height: 20, style: guest },
      { x: 20, y: 0, width: 5, height: 20, style: guest },
      { x: 30, y: 0, width: 5, height: 20, style: lost },
    ],
  });
  it('escapes names', () => {
    expect(escapeXml('<a href="x">&')).toBe('&#60;a href=&#34;x&#34;&#62;&#38;');
    expect(text).toContain('<title>a &#38; &#60;b&#62;</title>');
  });
  it('draws a path a style, and a pattern a texture', () => {
    expect(text).toContain('<path fill="#0072b2" d="M0 0h10v20h-10zM20 0h5v20h-5z"/>');
    expect(text.match(/<pattern /g)).toHaveLength(1);
    expect(text).toContain('<path fill="url(#t0)"');
  });
});
