// Pages with nothing of their own to do: switches, keys, and ratings that still wait.
import "./page.js";
import "./keys.js";
import "./ratings.js";
