import { systemClock } from "@token-handler/shared"; console.log(systemClock.now())
