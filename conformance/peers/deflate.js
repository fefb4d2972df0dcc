// The `perMessageDeflate` of `ws` for each FORM of peers.toml.
'use strict';

const forgets = { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 };
const FORMS = { plain: false, 'no-takeover': forgets, takeover: { threshold: 0 } };

function perMessageDeflate(form) {
  if (!(form in FORMS)) throw new Error(`no such form: ${form}`);
  return FORMS[form];
}

module.exports = { perMessageDeflate };
