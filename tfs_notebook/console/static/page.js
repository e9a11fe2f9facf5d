import { page } from "./console.js";

page(document.getElementById("console"));
