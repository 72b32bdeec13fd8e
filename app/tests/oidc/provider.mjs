// A certified OpenID provider (panva/node-oidc-provider) for the tests, with its own pages for login and consent.
//
// Usage: node provider.mjs PORT MODULES REDIRECT_URI [KEY CERTIFICATE]: MODULES is the directory with node_modules;
// with a key and a certificate it speaks TLS. Whoever logs in as NAME has the address NAME@example.com, verified
// unless NAME begins with "unverified".
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { pathToFileURL } from "node:url";

const [port, modules, redirectUri, key, certificate] = process.argv.slice(2);
const entry = createRequire(`${modules}/package.json`).resolve("oidc-provider");
const { Provider } = await import(pathToFileURL(entry));

const provider = new Provider(`${key ? "https" : "http"}://127.0.0.1:${port}`, {
  clients: [{
    client_id: "ticketing", client_secret: "a secret that only the two of us know", redirect_uris: [redirectUri],
    grant_types: ["authorization_code"], response_types: ["code"],
  }],
  pkce: { required: () => true },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  cookies: { keys: ["for tests"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `${id} of the provider`, email: `${id}@example.com`, email_verified: !id.startsWith("unverified") }),
  }),
});
const server = key
  ? https.createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, provider.callback())
  : http.createServer(provider.callback());
server.listen(Number(port), "127.0.0.1");
