// Tabs, and the values of a point at once instead of after the browser's delay. Without scripts every panel shows and <title> speaks.
for (const tabs of document.querySelectorAll('.tabs')) {
  const buttons = [...tabs.querySelectorAll('button')];
  const show = chosen => buttons.forEach(b => {
    const on = b === chosen;
    b.setAttribute('aria-selected', on);
    b.tabIndex = on ? 0 : -1;
    document.getElementById(b.dataset.panel).hidden = !on;
  });
  buttons.forEach((b, i) => {
    b.onclick = () => show(b);
    b.onkeydown = e => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[e.key];
      if (!step) return;
      const next = buttons[(i + step + buttons.length) % buttons.length];
      show(next); next.focus();
    };
  });
  if (buttons.length) show(buttons[0]);
}
const tip = document.body.appendChild(Object.assign(document.createElement('div'), {id: 'tip', hidden: true}));
for (const point of document.querySelectorAll('svg .tip')) {
  const title = point.querySelector('title'), text = title.textContent;
  title.remove();
  point.setAttribute('aria-label', text);
  point.onpointerenter = () => {
    tip.textContent = text; tip.hidden = false;
    const at = point.getBoundingClientRect(), wide = tip.offsetWidth;
    const left = Math.min(Math.max(8, at.left + at.width / 2 - wide / 2), document.documentElement.clientWidth - wide - 8);
    tip.style.left = left + scrollX + 'px';
    tip.style.top = (at.top > tip.offsetHeight + 12 ? at.top - tip.offsetHeight - 6 : at.bottom + 8) + scrollY + 'px';
  };
  point.onpointerleave = () => { tip.hidden = true; };
}
for (const svg of document.querySelectorAll('svg')) {
  const parts = [...svg.querySelectorAll('.series')];
  for (const part of svg.querySelectorAll('[data-series]')) {
    part.addEventListener('pointerenter', () => {
      svg.classList.add('picked');
      parts.forEach(p => p.classList.toggle('on', p.dataset.series === part.dataset.series));
    });
    part.addEventListener('pointerleave', () => svg.classList.remove('picked'));
  }
}
