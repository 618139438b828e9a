// What the bundles export.
export { connect } from './index.js';
export { GiveUp } from './token.js';
