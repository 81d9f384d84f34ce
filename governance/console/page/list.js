// A list of any length that holds only the rows one sees: rows come from the server by the page, and the keyboard moves through all of them.
// For assistive technology it is a listbox whose options say their place in the whole.

import { h } from './dom.js';

const pageRows = 100;
const pagesKept = 40;
const heightMax = 8_000_000; // browsers stop being exact beyond some ten million pixels

export class VirtualList {
  // fetchPage(offset, limit) -> {total, complete, rows}; render(row, element) fills an option; onSelect(row, place).
  constructor({ label, rowHeight = 52, fetchPage, render, onSelect, onTotal }) {
    Object.assign(this, { rowHeight, fetchPage, render, onSelect, onTotal });
    this.total = 0;
    this.selected = -1;
    this.pages = new Map();
    this.shown = new Map();
    this.id = `list-${VirtualList.next++}`;
    this.space = h('div', { class: 'list-space', role: 'none' });
    this.element = h('div', {
      class: 'list', role: 'listbox', tabindex: '0', 'aria-label': label, id: this.id,
      onscroll: () => this.schedule(), onkeydown: (event) => this.key(event),
    }, this.space);
    this.resize = new ResizeObserver(() => this.schedule());
    this.resize.observe(this.element);
  }

  async load() {
    this.pages.clear();
    for (const option of this.shown.values()) option.remove();
    this.shown.clear();
    this.selected = -1;
    const first = await this.page(0);
    this.setTotal(first);
    this.draw();
    return first;
  }

  setTotal(answer) {
    if (answer.total === this.total && this.known) return;
    this.known = true;
    this.total = answer.total;
    this.space.style.height = `${Math.min(this.total * this.rowHeight, heightMax)}px`;
    if (this.onTotal) this.onTotal(answer);
  }

  page(number) {
    let page = this.pages.get(number);
    if (!page) {
      page = this.fetchPage(number * pageRows, pageRows);
      page.catch(() => this.pages.delete(number));
      this.pages.set(number, page);
      if (this.pages.size > pagesKept) this.pages.delete(this.pages.keys().next().value);
    }
    return page;
  }

  async row(place) {
    const answer = await this.page(Math.floor(place / pageRows));
    this.setTotal(answer);
    return answer.rows[place % pageRows];
  }

  // Where the first visible row is, as a place; the height is scaled down for very long lists.
  top() {
    const height = Math.min(this.total * this.rowHeight, heightMax);
    const range = height - this.element.clientHeight;
    if (range <= 0) return 0;
    const places = this.total - this.element.clientHeight / this.rowHeight;
    return Math.max(0, Math.min(places, (this.element.scrollTop / range) * places));
  }

  schedule() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const top = this.top();
    const first = Math.max(0, Math.floor(top) - 4);
    const last = Math.min(this.total - 1, Math.ceil(top + this.element.clientHeight / this.rowHeight) + 4);
    for (const [place, option] of this.shown) {
      if (place < first || place > last) {
        option.remove();
        this.shown.delete(place);
      }
    }
    for (let place = first; place <= last; place++) {
      let option = this.shown.get(place);
      if (!option) {
        option = this.make(place);
        this.shown.set(place, option);
        this.space.append(option);
      }
      option.style.transform = `translateY(${this.element.scrollTop + (place - top) * this.rowHeight}px)`;
    }
  }

  make(place) {
    const option = h('div', {
      class: 'row loading', role: 'option', id: `${this.id}-${place}`, 'aria-selected': place === this.selected ? 'true' : 'false',
      'aria-posinset': place + 1, 'aria-setsize': this.total, 'aria-label': `Record ${place + 1} of the list, loading`,
      onclick: () => this.select(place, true),
    });
    option.style.height = `${this.rowHeight}px`;
    this.row(place).then((row) => {
      if (!row || !option.isConnected) return;
      option.classList.remove('loading');
      option.removeAttribute('aria-label');
      option.replaceChildren();
      this.render(row, option);
    }).catch(() => option.replaceChildren('This row could not be read.'));
    return option;
  }

  async select(place, byPerson) {
    if (place < 0 || place >= this.total) return;
    this.shown.get(this.selected)?.setAttribute('aria-selected', 'false');
    this.selected = place;
    this.bringIntoView(place);
    this.shown.get(place)?.setAttribute('aria-selected', 'true');
    this.element.setAttribute('aria-activedescendant', `${this.id}-${place}`);
    const row = await this.row(place);
    if (row && this.selected === place && byPerson) this.onSelect(row, place);
  }

  bringIntoView(place) {
    const top = this.top();
    const rows = this.element.clientHeight / this.rowHeight;
    if (place < top || place + 1 > top + rows) {
      const places = Math.max(1, this.total - rows);
      const height = Math.min(this.total * this.rowHeight, heightMax);
      const wanted = place < top ? place : place + 1 - rows;
      this.element.scrollTop = (Math.max(0, Math.min(places, wanted)) / places) * (height - this.element.clientHeight);
    }
    this.draw();
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    let place = this.selected;
    if (step) place = Math.max(0, Math.min(this.total - 1, this.selected + step));
    else if (event.key === 'Home') place = 0;
    else if (event.key === 'End') place = this.total - 1;
    else return;
    event.preventDefault();
    this.select(place, true);
  }
}
VirtualList.next = 1;
