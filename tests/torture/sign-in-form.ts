import { CookieJar } from '../support/cookie-jar.ts'
import { signIn } from '../support/sign-in.ts'

/** Logs in through the authorization server's own pages, as a browser without scripts and without a session there. */
export function fillInLogin(
  authorizationUrl: string,
  { redirectUri, name, password }: { readonly redirectUri: string; readonly name: string; readonly password: string },
): Promise<URL> {
  return signIn({ authorizationUrl, redirectUri, login: name, password, jar: new CookieJar() })
}
